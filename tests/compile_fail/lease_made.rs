// E0451

use latch_core::lease::{Lease, Purpose};

fn main() {
    let _ = Lease { purpose: Purpose::Operation, account: String::new(), call: digest(), epoch: latch_core::lease::Epoch(0) };
}

fn digest() -> latch_core::call::Digest {
    loop {}
}
