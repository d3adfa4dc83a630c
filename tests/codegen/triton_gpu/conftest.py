"""With TRACEGRAD_EMULATED_GPU=1 what the tests of this folder run is no text in Triton's interpreter: it is compiled,
and a GPU emulated (see ptx_machine). That takes some ten minutes:

    cd tests/codegen/triton_gpu
    TRACEGRAD_EMULATED_GPU=1 python -m pytest test_agreement.py test_edges.py test_ops.py test_products.py \\
        test_reductions.py test_scans.py test_scatters.py test_spliced_products.py

test_host_check and the like are about the interpreter itself.
"""
from __future__ import annotations

import os

if os.environ.get("TRACEGRAD_EMULATED_GPU") == "1":
    from compiled_kernels import run_some_way

    from codegen.triton_gpu import host_check

    host_check.run = run_some_way       # before the modules of the tests take it from there
