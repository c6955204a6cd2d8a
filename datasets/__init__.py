"""The data sets, one file each; splits and their audit, preparation at load, the volume store."""
