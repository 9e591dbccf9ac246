//! Whether this machine can run the lab, and what to install if not.
