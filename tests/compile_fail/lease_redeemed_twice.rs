// E0382

use latch_core::call::Call;
use latch_core::lease::{EpochGate, Lease};

fn twice(lease: Lease, call: &Call, gate: &EpochGate) {
    let _ = lease.redeem("mail", call, gate);
    let _ = lease.redeem("mail", call, gate);
}

fn main() {}
