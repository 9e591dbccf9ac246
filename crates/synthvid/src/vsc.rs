//! The guest's end of the protocol, as Linux's drivers play it.
