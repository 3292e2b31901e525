"""The rules of the diagnosis, one module for what belongs together: each takes a record and answers with a finding or
``None``; thresholds stand at the top, each with its reason."""
