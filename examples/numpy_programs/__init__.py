"""Programs written for NumPy, as people write them. None knows of tracegrad; `catalog` lists them with arguments."""
