//! The numbers that stand in the database for names. A number, once given, keeps its meaning.

use latch_core::journal::{Kind, Shelf};
use latch_core::operation::{Class, Meter};

macro_rules! codes {
    ($to:ident, $from:ident, $type:ty { $($variant:path = $number:literal),* $(,)? }) => {
        pub(super) const fn $to(value: $type) -> u8 {
            match value { $($variant => $number),* }
        }

        pub(super) const fn $from(number: u8) -> Option<$type> {
            match number { $($number => Some($variant),)* _ => None }
        }
    };
}

codes!(kind_code, kind_of, Kind {
    Kind::Start = 1, Kind::Stop = 2, Kind::Forbidden = 3, Kind::Refused = 4, Kind::Read = 5, Kind::Hold = 6, Kind::Verdict = 7, Kind::Intent = 8,
    Kind::Outcome = 9, Kind::Undo = 10, Kind::Panic = 11, Kind::Resume = 12, Kind::Change = 13, Kind::Token = 14, Kind::Alert = 15,
});

codes!(class_code, class_of, Class {
    Class::Read = 1, Class::Modify = 2, Class::Remove = 3, Class::Unclassified = 4, Class::Send = 5, Class::Publish = 6, Class::Share = 7,
    Class::Destroy = 8, Class::Spend = 9, Class::Divert = 10,
});

codes!(shelf_code, shelf_of, Shelf {
    Shelf::Account = 1, Shelf::Credential = 2, Shelf::Agent = 3, Shelf::Grant = 4, Shelf::Setting = 5, Shelf::Rules = 6, Shelf::Hold = 7,
    Shelf::Undo = 8, Shelf::Outbox = 9, Shelf::Known = 10, Shelf::State = 11, Shelf::Phone = 12,
});

codes!(meter_code, meter_of, Meter {
    Meter::Read = 1, Meter::Modify = 2, Meter::LeaveInbox = 3, Meter::Remove = 4, Meter::Send = 5,
});

/// A shelf's name in the associated data of what is sealed on it.
pub(super) const fn shelf_name(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::Account => "account",
        Shelf::Credential => "credential",
        Shelf::Agent => "agent",
        Shelf::Grant => "grant",
        Shelf::Setting => "setting",
        Shelf::Rules => "rules",
        Shelf::Hold => "hold",
        Shelf::Undo => "undo",
        Shelf::Outbox => "outbox",
        Shelf::Known => "known",
        Shelf::State => "state",
        Shelf::Phone => "phone",
    }
}
