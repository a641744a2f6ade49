// E0277

use latch_core::lease::Lease;

fn copy<T: Clone>() {}

fn main() {
    copy::<Lease>();
}
