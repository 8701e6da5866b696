//! Sockets. Reads packets and messages, calls `answer`, writes what it says; decides nothing.
