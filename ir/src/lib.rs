//! Types, graph, primitive operators, kernel program, text forms, verifiers, interpreters.
