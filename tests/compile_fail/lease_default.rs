// E0277

use latch_core::lease::Lease;

fn main() {
    let _: Lease = Default::default();
}
