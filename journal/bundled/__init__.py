"""Files that go into an evidence bundle, to be read and run where this package is not."""
