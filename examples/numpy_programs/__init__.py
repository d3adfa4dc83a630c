"""Programs written for NumPy, as people write them. None knows of tracegrad; `catalog` lists them, `__main__` traces
them.
"""
