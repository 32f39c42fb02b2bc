//! What may never be seen in any history.
