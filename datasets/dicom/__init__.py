"""Scans as scanners and archives write them: DICOM files, told apart into series, checked and read as one volume each.

Nothing of a patient enters: of a header only the tags are read that say how the picture was made (`header.py`), and no
message, name or record here holds a file's name or a UID.
"""
