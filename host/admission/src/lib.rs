//! Admission policies: which writes they are asked about, and what their verdicts mean.
