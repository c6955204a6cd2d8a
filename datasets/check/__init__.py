"""`bench check`: can a run on these scans be trusted?"""
