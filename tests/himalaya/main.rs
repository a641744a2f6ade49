//! himalaya, the mail program that agents use most: unmodified, set up with what `latch account show` prints, against a real mail server and a real one for
//! sending. Every call of it is a login of its own, with a token that `latch token` gives it.

#![cfg(unix)]

mod both;
mod house;
mod one;
mod two;
