//! Where a test build can be made to die or to fail, to prove what survives it (ATTACKS 35, 36).
//!
//! | point | where |
//! |---|---|
//! | `before-intent` | a call is decided, its intent not yet given to the store |
//! | `in-transaction` | an intent or outcome is written but not committed |
//! | `after-commit` | an intent or outcome is durable, its caller does not know yet |
//! | `after-intent` | the caller knows, the call is not made yet |
//! | `before-outcome` | the call was made, its outcome not yet given to the store |
//! | `panic-after-intent` | does not die: everything is stopped before the call gets its lease |
//! | `disk-full` | does not die: every write of the journal from here on fails as on a full disk |

/// Ends the process at once, without unwinding, when `LATCHSTRING_FAILPOINT` is this name, or `name:3` at the third time here.
/// Does nothing unless built with the feature `failpoints`.
#[cfg(any(test, feature = "failpoints"))]
pub fn point(name: &str) {
    if reached(name) {
        std::process::abort();
    }
}

/// Ends the process at once when told so; nothing in this build.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline]
pub fn point(_name: &str) {}

/// Whether `LATCHSTRING_FAILPOINT` asks for this here and now; never without the feature `failpoints`.
#[cfg(any(test, feature = "failpoints"))]
#[must_use]
pub fn is_here(name: &str) -> bool {
    reached(name)
}

/// Never in this build.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline]
#[must_use]
pub const fn is_here(_name: &str) -> bool {
    false
}

/// Whether `LATCHSTRING_FAILPOINT` asks for this kind of failure from now on; never without the feature `failpoints`.
#[cfg(any(test, feature = "failpoints"))]
#[must_use]
pub fn asked(name: &str) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};
    static FAILING: AtomicBool = AtomicBool::new(false);
    if reached(name) {
        FAILING.store(true, Ordering::SeqCst);
    }
    FAILING.load(Ordering::SeqCst)
}

/// Never in this build.
#[cfg(not(any(test, feature = "failpoints")))]
#[inline]
#[must_use]
pub const fn asked(_name: &str) -> bool {
    false
}

#[cfg(any(test, feature = "failpoints"))]
fn reached(name: &str) -> bool {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static WANTED: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let text = std::env::var("LATCHSTRING_FAILPOINT").ok()?;
        Some(match text.split_once(':') {
            Some((name, time)) => (name.to_owned(), time.parse().ok()?),
            None => (text, 1),
        })
    });
    static TIMES: AtomicU32 = AtomicU32::new(0);
    match &*WANTED {
        Some((wanted, time)) if wanted == name => TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *time,
        Some(_) | None => false,
    }
}
