"""What those who write or choose a session store can test it with."""
