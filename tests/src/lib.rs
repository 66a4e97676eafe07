//! Helpers of the cross-room tests.
