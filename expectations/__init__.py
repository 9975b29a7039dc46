"""What must be true at a border: Great Expectations suites as code, and the gate that stops a bad batch."""
