//! Trust between gateway and cloud.
