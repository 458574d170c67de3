//! Controllers as pure functions and the manager that queues their work.
