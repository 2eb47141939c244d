"""What a search costs: the time of a query on one thread, and the size of what is searched."""

from __future__ import annotations

import time

import numba
import numpy as np
from scipy import sparse

from disco_lib.index import InvertedIndex
from disco_lib.sparsity import active_terms

#: A search is timed so many times, and the fastest counts: the least disturbed one. Long ones are
#: timed less often, once `LONG` seconds are spent, but `AT_LEAST` times.
TIMED, AT_LEAST, LONG = 25, 5, 4.0


def search_ms(index: InvertedIndex, queries: sparse.csr_matrix, k: int = 100) -> float:
    """Milliseconds that one thread takes for one query (queries, vocabulary) of the k best.

    The processor's time is taken, not the clock's: on a busy machine the clock runs on while the
    search waits for its turn.
    """
    seconds = []
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        while len(seconds) < TIMED and (len(seconds) < AT_LEAST or sum(seconds) < LONG):
            start = time.process_time()
            index.search_arrays(queries, k)
            seconds.append(time.process_time() - start)
    finally:
        numba.set_num_threads(threads)
    return 1e3 * min(seconds) / max(1, queries.shape[0])


def collection_costs(documents: sparse.csr_matrix, index: InvertedIndex) -> dict[str, float]:
    """{"document_terms": active terms of a document, "postings": of all, "index_mb"}.

    index_mb: megabytes of the index's arrays, with its tables of a place for every term.
    """
    active = active_terms(documents)
    return {
        "document_terms": round(float(np.mean(active)), 3),
        "postings": int(active.sum()),
        "index_mb": round(index.postings.nbytes / 1e6, 4),
    }
