"""Services that run embedded on this machine: each prepares its folder, names its command and says when it is ready."""
