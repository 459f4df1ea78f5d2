"""The memory of the process: how much there is, what loads may take, when garbage is collected."""
