//! The server against a client, a rule at a time, and against noise.

mod channels;
mod contact;
mod gpadls;
mod hostile;
mod offers;
mod pair;
