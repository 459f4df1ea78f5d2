"""The memory of the process: its size, the room for loads, and when garbage is collected."""
