// compiles

use latch_core::call::Call;
use latch_core::lease::{EpochGate, Lease, LeaseError, Redeemed};

fn once(lease: Lease, call: &Call, gate: &EpochGate) -> Result<Redeemed, LeaseError> {
    lease.redeem("mail", call, gate)
}

fn main() {
    let _ = once;
}
