//! How the agent, the command line and the tests talk to a server.
