// E0624

use latch_core::call::Digest;
use latch_core::lease::{Epoch, Lease, Purpose};

fn mint(digest: Digest) -> Lease {
    Lease::mint(Purpose::Operation, String::new(), digest, Epoch(0))
}

fn main() {}
