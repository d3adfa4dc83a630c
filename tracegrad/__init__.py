"""tracegrad: dynamic, debuggable array code in Python, made fast by tracing it."""
