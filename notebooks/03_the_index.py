# %% [markdown]
# # The index
#
# **A search adds up numbers that lie in lists. It is fast when the lists are
# small, the sums stay close to the processor, and whole pieces of the
# collection can be left out without looking; and none of this has to cost
# exactness.**
#
# After this chapter you can write down an inverted index, say how many bytes
# a query reads from it, explain why a plain one is slower than it need be,
# and judge from the record what ours gains, and where it ends.

# %% tags=["hide-input"]
# Set-up, the same in every chapter: import the disco_lib of this
# checkout; on Colab, fetch the book and what it needs first.
import runpy
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    root = Path("/content/disco-book")
    url = "https://github.com/disco-book/disco-book"
    fetch = ["git", "clone", "--quiet", "--depth=1", "--branch=main", url]
    if not root.exists():
        subprocess.run([*fetch, str(root)], check=True)
    runpy.run_path(str(root / "book" / "colab.py"), run_name="__main__")
else:
    places = (Path.cwd(), *Path.cwd().parents)
    root = next(place for place in places if (place / "disco_lib").is_dir())
sys.path.insert(0, str(root))
import disco_lib

found = Path(disco_lib.__file__).parent
assert found == root / "disco_lib", f"restart: {found} is loaded"
print(f"disco_lib {disco_lib.__version__}")

# %% [markdown]
# ## A posting list
#
# A sparse vector names a few terms and their weights. An *inverted index*
# turns this around: for each term, the documents that have it, with their
# weights. One such pair is a *posting*. Three documents, in plain Python:

# %%
documents = [
    {"violin": 2.0, "wood": 1.0},
    {"wood": 3.0, "fire": 1.5},
    {"violin": 1.0, "concert": 2.5, "wood": 0.5},
]
lists = {}
for number, weights in enumerate(documents):
    for term, weight in weights.items():
        lists.setdefault(term, []).append((number, weight))


def search(query):
    scores = [0.0] * len(documents)
    for term, ours in query.items():
        for number, weight in lists.get(term, []):
            scores[number] += ours * weight
    found = [(s, n) for n, s in enumerate(scores) if s > 0]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))


for term, postings in lists.items():
    print(f"{term:8}", postings)
print("violin and wood:", search({"violin": 1.0, "wood": 0.5}))

# %% [markdown]
# The query walks the lists of its own terms and adds into one *accumulator*
# a document. Documents without any of its terms cost nothing. The library
# gives the same:

# %%
import numpy as np
from scipy import sparse

from disco_lib.index import InvertedIndex

terms = list(lists)


def row(weights):
    return [weights.get(term, 0.0) for term in terms]


small = sparse.csr_matrix([row(weights) for weights in documents])
query = sparse.csr_matrix([row({"violin": 1.0, "wood": 0.5})])
three = InvertedIndex.build(small, ["0", "1", "2"])
found, scores = three.search_arrays(query, k=3)
print(list(zip(scores[0].tolist(), found[0].tolist(), strict=True)))

# %% [markdown]
# ## Which postings a search touches
#
# Now the tier's passages, and the turns of its test split as queries: short
# ones (the careful rewrite) and long ones (the full conversation, read by
# the untrained encoder). At most 400 turns, so that the chapter stays quick.

# %%
from disco_lib.conversations import context_ids
from disco_lib.experiments import Laboratory

lab = Laboratory()
vectors, encoder = lab.documents, lab.encoder
rewrite = lab.tier.system("splade-rewrite")["input"]
turns = lab.turns(lab.tier.test, rewrite)[:400]
limits = lab.base_settings.limits
queries = {}
for kind, given in (("short", rewrite), ("long", "conversation")):
    batch = [
        context_ids(turn, given, encoder.tokenizer, limits)
        for turn in turns
    ]
    queries[kind] = encoder.encode(batch, limits.total)
N = vectors.shape[0]
print(f"{N:,} passages, {len(turns)} turns")
print(f"{vectors.nnz / N:.1f} postings a passage")

# %% [markdown]
# Some terms are in many passages, and queries like to ask for just those.
# Read the next figure from the right: it adds up the touched postings from
# the commonest term to the rarest.

# %% mystnb={"figure": {"caption": "Share of all touched postings that belong to terms at least as frequent as the horizontal axis says. The dashed line marks the frequency from which our index stores a list densely. What lies to the right of it is the work that a processor can do many documents at a time.", "name": "index-frequency"}, "image": {"alt": "Two falling curves, for short and long queries: share of touched postings against document frequency on a logarithmic axis, with a vertical dashed line at the threshold of dense lists."}}
from disco_lib import plots
from disco_lib.index_views import touched_by_frequency
from disco_lib.postings import DENSE

dense_from = DENSE["uint8"]
shares = {
    f"{kind} queries": touched_by_frequency(rows, vectors)
    for kind, rows in queries.items()
}
figure = plots.curves(
    shares,
    xlabel="share of passages that have the term (document frequency)",
    ylabel="share of touched postings",
)
plots.adjusted(figure, (dense_from, "dense"), xscale="log", ylim=(0, 1.02))

# %%
for kind, rows in queries.items():
    frequency, share = touched_by_frequency(rows, vectors)
    place = np.searchsorted(frequency, dense_from)
    common = (vectors.getnnz(axis=0) >= dense_from * N).sum()
    reached = share[place] if place < len(share) else 0
    print(
        f"{kind}: {common} terms of {vectors.shape[1]:,} "
        f"give {reached:.0%} of the touched postings"
    )

# %% [markdown]
# ## Why the plain accumulator is slow
#
# The code above, compiled, is the *plain accumulator* of public SPLADE code:
# a four-byte document number and a four-byte weight a posting, one
# accumulator a document over the whole collection, and at the end a partial
# sort. It is simple and it is hard to beat. Two things hold it back.
#
# **Bytes.** A posting is read once, used for one multiplication and one
# addition, and forgotten. So the bytes a posting takes are what memory has
# to deliver.
#
# **Cache.** The accumulators of a large collection do not fit into the cache
# next to the processor, and each list walks over all of them again. What an
# addition costs then depends on how far away its accumulator is. We measure
# it here with a small compiled loop. The numbers are this machine's own,
# and kept in the cache folder.

# %%
from disco_lib.machine import machine_speeds
from disco_lib.postings import BLOCK
from disco_lib.tables import Table

speeds = machine_speeds()
Table.of(
    [
        {
            "accumulators": f"{size:,} KiB",
            "documents": f"{size * 256:,}",
            "ns an addition": f"{ns:.1f}",
        }
        for size, ns in speeds.scattered.items()
    ]
)

# %% [markdown]
# The places are random here; a real list goes forward, which is kinder to
# the cache. The direction is the same.
#
# ## Blocks, and three forms of a list
#
# So our index cuts the collection into *blocks* of documents whose
# accumulators stay in the cache, and finishes one block before it looks at
# the next. Inside a block, documents have small numbers, and each list takes
# the form that suits it:
#
# - **gaps**: one byte for the distance to the document before, one for the
#   weight. A distance above 255 is bridged by a posting of weight 0.
# - **places**: two bytes for the place in the block, one for the weight. For
#   lists too thin for gaps.
# - **dense**: no places at all, one weight for every document of the block,
#   0 where the term is missing. For terms that many documents have.

# %%
print(f"{BLOCK:,} documents a block")
print(f"{BLOCK * 4 // 1024} KiB of accumulators")

# %% mystnb={"figure": {"caption": "Every list of the first block, one dot each: how frequent its term is, and how many bytes it spends on a posting. Gaps take two bytes, more where distances have to be bridged; places take three; a dense list is dear where it begins, and cheaper than gaps for terms that more than half of the documents have. The plain layout takes eight.", "name": "index-forms"}, "image": {"alt": "Scatter plot of bytes a posting against share of documents with the term, on a logarithmic axis; lists of gaps lie near two bytes, lists of places at three, dense lists on a falling line at the right."}}
from disco_lib.index_views import FORMS, list_bytes, list_forms
from disco_lib.postings import pack

postings = pack(vectors, "uint8")
held = vectors[:BLOCK].getnnz(axis=0)
forms, sizes = list_forms(postings), list_bytes(postings)
dots = {}
for form, name in FORMS.items():
    of = forms == form
    if of.any():
        dots[name] = (held[of] / min(N, BLOCK), sizes[of] / held[of])
figure = plots.scatter(
    dots,
    xlabel="share of the block's documents that have the term",
    ylabel="bytes a posting",
)
plots.adjusted(figure, xscale="log", xlim=(0.5 / min(N, BLOCK), 1.1))

# %% [markdown]
# One list of each form, as it is stored: the longest of its kind, its first
# bytes. The first gap counts from the place before the block; the bytes of
# places come in pairs, the low one first.

# %%
from disco_lib.index_views import list_parts

rows = []
for form, name in FORMS.items():
    if not (forms == form).any():
        continue
    term = int(np.argmax(np.where(forms == form, held, 0)))
    steps, weights = list_parts(postings, term)
    rows.append(
        {
            "form": name,
            "lists": f"{(forms == form).sum():,}",
            "term": encoder.tokenizer.convert_ids_to_tokens(term),
            "postings": f"{held[term]:,}",
            "places": " ".join(map(str, steps[:8])) or "none",
            "weights": " ".join(map(str, weights[:8])),
        }
    )
Table.of(rows)

# %% [markdown]
# Why does a dense list pay from such a small share on, where it takes
# several bytes a posting? Because it is added without looking anything up:
# the processor loads a row of weights, multiplies, adds, and stores, many
# documents in one instruction. The other two forms go to each document by
# itself. Dense lists pay from where their cost for *every* document is that
# of gaps for the few that have the term:

# %%
rows = [
    {"form": form, "ns a stored weight": f"{ns:.2f}"}
    for form, ns in speeds.forms.items()
]
even = speeds.forms["dense"] / speeds.forms["gaps"]
print(f"even at a share of {even:.2f}; the index uses {dense_from}")
Table.of(rows)

# %% [markdown]
# Now the bytes of the lists that a query of the tier walks. The third column
# takes one byte a weight, which comes next.

# %%
from disco_lib.index_views import bytes_touched
from disco_lib.sparsity import postings_touched

exact = InvertedIndex.build(vectors, lab.collection.pids)
coarse = InvertedIndex.build(vectors, lab.collection.pids, "uint8")
rows = []
for kind, asked in queries.items():
    touched = postings_touched(asked, exact).mean()
    row = {"queries": kind, "postings": f"{touched:,.0f}"}
    row["KB, plain"] = f"{8 * touched / 1e3:.1f}"
    for index in (exact, coarse):
        size = bytes_touched(asked, index.postings).mean()
        row[f"KB, {index.storage}"] = f"{size / 1e3:.1f}"
    rows.append(row)
Table.of(rows)

# %% [markdown]
# ## One byte a weight
#
# Each term gets a scale, its highest weight divided by 255. A weight is
# stored as the nearest multiple of it, from 1 to 255; 0 stands for no
# posting. In numpy:

# %% mystnb={"figure": {"caption": "The error of every stored weight, in steps of its term's scale. Rounding is off by half a step at most, in either direction alike. The few errors beyond are weights below half a step, which are raised to a whole one, since 0 would lose the posting. The peak at 0 holds the highest weight of each term, which is stored exactly.", "name": "index-error"}, "image": {"alt": "Histogram of the quantisation error: nearly level between minus one half and one half of a step, with a peak at zero and next to nothing above one half."}}
highest = vectors.max(axis=0).toarray()[0].astype(np.float32)
step = (highest / np.float32(255))[vectors.indices]
codes = np.clip(np.floor(vectors.data / step + np.float32(0.5)), 1, 255)
stored = vectors.copy()
stored.data = (step * codes).astype(np.float32)
plots.histogram(
    (stored.data - vectors.data) / step,
    xlabel="error of a weight (steps of its term's scale)",
    ylabel="share of postings",
)

# %% [markdown]
# Does it matter? We search with both indexes and ask how many of the 100
# best passages stay the same, and what the metric of the book says.

# %%
from disco_lib.closeup import evaluate_queries
from disco_lib.index_views import overlap

in_bytes = Laboratory(lab.tier)
in_bytes.ground().index = coarse
rows = []
for kind, asked in queries.items():
    best = [
        index.search_arrays(asked, 100)[0] for index in (exact, coarse)
    ]
    mrr = [
        evaluate_queries(place, asked, turns).mean()["MRR@10"]
        for place in (lab, in_bytes)
    ]
    rows.append(
        {
            "queries": kind,
            "overlap at 100": f"{overlap(*best):.2%}",
            "MRR@10, float32": f"{mrr[0]:.4f}",
            "MRR@10, uint8": f"{mrr[1]:.4f}",
            "change": f"{mrr[1] - mrr[0]:+.4f}",
        }
    )
Table.of(rows)

# %% [markdown]
# So one byte a weight is a choice, and the default of `InvertedIndex.build`
# is float32: exact unless you ask for less. *Exact* means one more thing, in
# both storages: the scores are those of the full product with the weights
# that are stored.
#
# ## Checked against the dense product
#
# Twenty queries of each kind against every passage, with vectors written out
# in full and multiplied in 64-bit floats:

# %%
from disco_lib.index_views import all_scores

for index, weights in ((exact, vectors), (coarse, stored)):
    for kind, asked in queries.items():
        truth = -np.sort(-all_scores(asked[:20], weights))[:, :100]
        got = index.search_arrays(asked[:20], 100)[1]
        equal = np.allclose(got, truth[:, : got.shape[1]], rtol=1e-5)
        print(f"{index.storage:8}{kind:6}equal to 1e-5: {equal}")

# %% [markdown]
# ## The block bound
#
# Once $k$ documents are found, a block matters only if it can hold a better
# one. For each block and term the index keeps the highest stored weight
# $m_{bj}$, so no document of block $b$ scores above
#
# $$u_b = \sum_j q_j\, s_j\, m_{bj}.$$
#
# If $u_b$ is not above the worst of the $k$ best so far, the block is left
# out unread. In real numbers this is plainly exact. Is it in floating point,
# where sums are rounded? Yes, for a reason worth knowing: rounding is
# *monotone*. If $a \le b$, then the rounded $a + c$ is no larger than the
# rounded $b + c$, and the same holds for products with a factor that is not
# negative. The bound adds the same terms in the same order as a score does,
# and each addend is at least as large; so the rounded bound is at least the
# rounded score. A different order of addition would break the argument. Of
# equal scores the earlier document ranks higher, so a tie need not be read
# either.
#
# How much is left out depends on which documents stand together. The next
# cell cuts the collection into small blocks in three orders: shuffled, as it
# comes, and sorted by each passage's heaviest term. We look for the ten best.

# %%
from disco_lib.index_views import blocks_skipped

some = {kind: asked[:100] for kind, asked in queries.items()}
heaviest = np.asarray(vectors.argmax(axis=1)).ravel()
orders = {
    "shuffled": np.random.default_rng(1).permutation(N),
    "as it comes": np.arange(N),
    "sorted by heaviest term": np.argsort(heaviest, kind="stable"),
}
size = max(16, N // 64)
rows = []
for name, order in orders.items():
    blocked = pack(vectors[order], block=size)
    row = {"order": name, "blocks": len(blocked.weight_starts)}
    for kind, asked in some.items():
        scores = np.asarray((asked @ vectors[order].T).todense())
        skipped = blocks_skipped(blocked, asked, scores, k=10)
        row[f"left out, {kind}"] = f"{skipped.mean():.0%}"
    rows.append(row)
Table.of(rows)

# %% [markdown]
# The bound needs two things. Documents that are alike have to stand
# together; the embedded collection is written topic by topic, which no
# shuffle keeps. And the query has to be short: the maxima of a hundred lists
# hardly ever meet in one document, so their sum is a loose bound. It costs
# one multiplication a term and block, so it stays where it gains little. The
# recombined collections of the record further down are shuffled by
# construction: what is gained there is gained by bytes and cache, not by
# skipping.
#
# ## What we took from the literature, and what not
#
# | idea | here | why |
# |---|---|---|
# | quantised impacts | yes, one byte, if asked for | a quarter of the bytes of a weight, and the ranking hardly moves |
# | blocks that fit the cache | yes | accumulators stay near the processor |
# | block maxima to skip | yes, but one bound for a whole block | safe without a parameter, and cheap |
# | lists ordered by impact | no | it serves stopping early; an exact search of a long query reads nearly everything anyway, and then jumps all over the collection |
# | pivots inside a block (WAND {cite}`broder2003wand`, MaxScore) | no | they keep the lists sorted by document at every step, which costs more than it saves when a query has dozens of flat weights |
# | many tiny blocks (BMP {cite}`mallia2024bmp`) | no | their maxima take more room than our lists; BMP is in the record |
# | summaries and cut queries (Seismic {cite}`bruch2024seismic`) | no | approximate; in the record, with its overlap |
# | bit-packed gaps | no | smaller, but a byte is decoded by one addition |
#
# Our lists are thus *not* ordered by impact, though the literature calls
# such weights impacts. They are ordered by document.
#
# ## On disk
#
# A saved index is a folder of plain arrays and a manifest with a checksum
# for each. `InvertedIndex.load` maps the arrays into memory: nothing is
# copied, and two processes share one copy. It does read every byte once, to
# compare the checksums.

# %%
import tempfile
from pathlib import Path

place = tempfile.TemporaryDirectory()
folder = Path(place.name) / "index"
coarse.save(folder)
opened = InvertedIndex.load(folder)
print("kept as:", type(opened.postings.weights).__name__)
again = opened.search_arrays(queries["short"], 100)[1]
before = coarse.search_arrays(queries["short"], 100)[1]
print("same scores:", np.array_equal(again, before))
Table.of(
    [
        {"file": file.name, "KB": f"{file.stat().st_size / 1e3:,.1f}"}
        for file in sorted(folder.glob("*.npy"))
    ]
)

# %% [markdown]
# Apart from `steps` and `weights` these are tables: where each list begins,
# its highest weight, its length, with an entry for every term of the
# vocabulary, whatever the number of documents.

# %%
lists = postings.steps.nbytes + postings.weights.nbytes
tables = postings.nbytes - lists
blocks = len(postings.weight_starts)
print(f"{blocks} block(s): {lists / 1e3:,.0f} KB of lists")
print(f"{tables / 1e3:,.0f} KB of tables")
whole = tables / blocks / (lists / N * BLOCK)
print(f"in a full block the tables would add {whole:.0%}")

# %% [markdown]
# So on a small collection the tables count as the lists do, and in a full
# block they hardly count.
#
# Now flip one byte in the middle of the weights:

# %%
from disco_lib.errors import IntegrityError

file = folder / "weights.npy"
content = bytearray(file.read_bytes())
content[len(content) // 2] ^= 1
file.write_bytes(content)
del opened
try:
    InvertedIndex.load(folder)
except IntegrityError as error:
    print(str(error).replace(str(folder), "INDEX"))

# %% [markdown]
# The error names the file and the command that builds it anew. Without the
# check one passage would have got a slightly wrong score for ever.
#
# ## Lucene beside it
#
# Lucene is what most systems use. Its *impact* index keeps whole numbers, so
# weights are multiplied by 100 and rounded. It comes from an optional
# package (`requirements-bench.txt`); without it, this cell says so.

# %%
from disco_lib.lucene import lucene

first, asked = vectors[:20_000], queries["short"]
beside = lucene(first, asked, 100)
print(beside.why or "Lucene ran")

# %%
names = lab.collection.pids[:20_000]
ours = InvertedIndex.build(first, names, "uint8")
best = InvertedIndex.build(first, names).search_arrays(asked, 100)[0]
engines = {
    "ours, uint8": (ours.search_arrays(asked, 100)[0], ours.postings.nbytes)
}
if beside.documents is not None:
    engines["Lucene"] = (beside.documents, beside.nbytes)
Table.of(
    [
        {
            "engine": name,
            "bytes a posting": f"{size / first.nnz:.2f}",
            "overlap at 100": f"{overlap(best, found):.2%}",
        }
        for name, (found, size) in engines.items()
    ]
)

# %% [markdown]
# Lucene has no table with a place for every term, which decides the size of
# a small index. Who is faster is not a question for so few passages.
#
# ## The record
#
# `make bench` measures large collections and writes what it finds to
# `data/measured/bench`. Real vectors are recombined, with a fixed seed, into
# as many documents as wanted: each mixes the terms of two real ones, weights
# kept. Each comparison is made on one machine in one run, searches on one
# thread: every engine in a process of its own, and the plain accumulator
# beside it, in the same minutes. These are the records that the rest of the
# chapter reads:

# %%
from disco_lib.bench import bench_table, load_benches, measured_on

records = load_benches()
measured_on(records)

# %% [markdown]
# ### Search

# %% mystnb={"figure": {"caption": "Time of a query by engine, exact and approximate ones together; further left is faster. Read it with the overlap at the right: a fast answer that misses passages is another product. The collection is the largest that every engine was run with.", "name": "index-search"}, "image": {"alt": "Dots on a logarithmic axis of milliseconds a query, one row an engine, circles for short and squares for long queries, with the overlap with the exact ranking beside each row."}}
from disco_lib.bench_plots import search_dots

search_dots(records["search"])

# %%
from disco_lib.bench import SIZE

columns = ["engine", "queries", "k", "median ms", "p99 ms"]
columns += ["times faster", "overlap", "bytes a posting", "build s"]
bench_table(records["search"], columns, documents=SIZE)

# %% [markdown]
# The figure and the next table have the largest size that all engines were
# run with. BMP is exact over the whole numbers that it keeps, of documents
# and of queries alike, and long queries have many small weights to lose.

# %%
from disco_lib.bench import common_size

search = records["search"]
size = common_size(search) if search else SIZE
columns.remove("k")
print(f"{size:,} documents, the 100 best")
bench_table(search, columns, documents=size, k=100)

# %% [markdown]
# *Times faster* is against the plain accumulator. *Overlap* is the share of
# the $k$ documents found that score no less than the exact $k$-th, so that
# ties count for nobody.
#
# ### How cost grows

# %% mystnb={"figure": {"caption": "Time of a query, size, and time to build and to open, against the number of documents. On these axes a straight line of slope one is growth in proportion. The plain accumulator bends upwards where its accumulators leave the cache, if it does; the index has fixed costs that show at the left.", "name": "index-growth"}, "image": {"alt": "Three panels with logarithmic axes over the number of documents: milliseconds a query for index and plain accumulator, megabytes of the index and of eight bytes a posting, seconds to build and to open."}}
from disco_lib.bench_plots import growth_lines

growth_lines(records["growth"])

# %%
columns = ["documents", "postings a document", "MB"]
columns += ["share of 8 bytes", "documents a second, built"]
columns += ["ms to open"]
bench_table(records["growth"], columns)

# %% [markdown]
# ### Encoding
#
# Passages a second with the same weights, here and in
# sentence-transformers, and what the fast way does to the ranking. The last
# row shows why the vocabulary product is not simply done in bfloat16: here
# such a product only picks candidates, which are then computed exactly.

# %%
bench_table(records["encoding"])

# %% [markdown]
# ### Training
#
# A step reads ten conversations with seventeen documents each. The *public
# recipe* encodes the frozen documents again at every step; the others look
# their vectors up, or encode them through a frozen side.

# %%
columns = ["way", "document tokens", "ms a step", "queries a second"]
columns += ["times public recipe", "times sentence-transformers"]
columns += ["peak MiB", "share of its memory"]
bench_table(records["training"], columns)

# %% [markdown]
# How memory grows can be counted here and now: what autograd keeps for the
# backward pass, for the head that writes down every logit and for the lean
# one of {doc}`02_splade_and_flops`.

# %% mystnb={"figure": {"caption": "Memory kept for the backward pass, model included, by batch at 64 tokens (left) and by length at 4 texts (right). The whole logits grow with batch times length times vocabulary; the lean head with the active entries.", "name": "index-memory"}, "image": {"alt": "Two panels with logarithmic axes: megabytes kept against batch size and against length; the line of the whole logits lies far above that of the lean head."}}
import torch

from disco_lib.memory import kept_for_backward

texts = lab.collection.passage_texts()[:100]
stream = [t for row in encoder.token_ids(texts, 128) for t in row[1:-1]]


def whole_logits(ids, mask):
    logits = encoder.model(input_ids=ids, attention_mask=mask).logits
    weights = torch.log1p(torch.relu(logits)) * mask[..., None]
    return weights.amax(dim=1)


def kept(head, B, L):
    given = [stream[i * L : (i + 1) * L] for i in range(B)]
    ids, mask = encoder.pad(given)
    own = list(encoder.parameters())
    return kept_for_backward(lambda: head(ids, mask), own) / 1e6


heads = {"whole logits": whole_logits, "lean head": encoder}
batches, lengths = (1, 2, 4, 8), (32, 64, 128, 192)
panels = {"MB kept (64 tokens)": {}, "MB kept (4 texts)": {}}
for name, head in heads.items():
    by_batch, by_length = panels.values()
    by_batch[name] = (batches, [kept(head, B, 64) for B in batches])
    by_length[name] = (lengths, [kept(head, 4, L) for L in lengths])
plots.log_lines(panels, ["texts in a batch", "tokens a text"])

# %% [markdown]
# ## What was aimed at, and what was reached
#
# The targets were set before the code was written. Each row is computed from
# the record.

# %%
from disco_lib.targets import targets

rows = targets(records)
Table.of(rows)

# %%
for word, sign in (("reached", "yes"), ("not reached", "no"), ("open", "open")):
    print(f"{sum(row['reached'] == sign for row in rows):3} {word}")

# %% [markdown]
# Where a row says *no*, look at what the other side does. Seismic is not
# exact: it takes the heaviest terms of the query, reads summaries of groups
# of documents, and never sees the rest, so that its time hardly grows with
# the collection while its overlap falls. The targets count it only where
# that overlap is below 99 %; the table of engines above has it at every
# size, with its overlap and the bytes it needs. An exact search may leave
# out a posting only where a bound proves that it cannot matter. And the
# memory of a training step has a part that no shorter document makes
# smaller, the model, its optimiser's state and a slice of the vocabulary
# product; the public recipe saves memory with shorter documents, so the
# share of it that is left rises.
#
# ## What bounds it
#
# A search cannot be faster than its lists can be read, nor than its postings
# can be added. Both limits are measured on this machine by small compiled
# loops: one copies an array, one adds a list of gaps within a block that is
# in the cache. If the record comes from another machine, compare with care.

# %%
from disco_lib.machine import search_bounds

print(f"copying: {speeds.copy:.1f} GB a second")
print(f"adding: {speeds.forms['gaps']:.2f} ns a posting in gaps")
search_bounds(records["growth"], speeds)

# %% [markdown]
# The larger of the two limits is the one that binds. Where reading takes
# less time than adding, smaller lists would not help, only cheaper additions
# would; the dense form is such a one, which is how a query can come out
# below the time that gaps would take. The rest, up to what was measured, is
# the emptying of the accumulators, the search for the $k$ best, and lists so
# short that starting one costs more than adding it.
#
# Encoding and training have another floor: the product of the hidden states
# with the vocabulary's matrix. Its speed was measured beside the training
# steps, in float32. Encoding can come out below it where the processor
# multiplies bfloat16 matrices: the head then picks its candidates by such a
# product and computes only those exactly.

# %%
from disco_lib.machine import product_bounds

product_bounds(records)

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# The index runs on the processor in every tier, also where a graphics card
# encodes. With `DISCO_TIER` set to a larger tier the chapter searches that
# tier's passages; `make bench` takes real vectors from `DISCO_DATA` where
# QReCC lies there. We have not measured it on such a machine.
# ```
#
# ## Exercises
#
# **1. The size of a block.** Build the byte index with blocks of 256 to
# 65,536 documents. How do its bytes a posting change, and why?

# %% tags=["hide-cell"]
# Answer: every block has its own table of where each of the vocabulary's
# lists begins. Small blocks pay for it again and again; large ones
# have more distances above 255.
for block in (256, 1_024, 4_096, 32_768, 65_536):
    packed = pack(vectors, "uint8", block)
    lists = packed.weights.nbytes + packed.steps.nbytes
    print(
        f"{block:7,}: {lists / vectors.nnz:6.2f} in lists, "
        f"{(packed.nbytes - lists) / vectors.nnz:8.2f} in tables"
    )

# %% [markdown]
# **2. Fewer levels.** Would four bits a weight do? Quantise to 15 levels
# instead of 255 and measure the overlap again.

# %% tags=["hide-cell"]
# Answer: the loss shows in the ranking, and sooner at 3 levels.
for levels in (255, 63, 15, 3):
    rough = vectors.copy()
    step = (highest / levels)[vectors.indices]
    codes = np.clip(np.rint(vectors.data / step), 1, levels)
    rough.data = (step * codes).astype(np.float32)
    index = InvertedIndex.build(rough, lab.collection.pids)
    shares = [
        overlap(*(x.search_arrays(asked, 100)[0] for x in (exact, index)))
        for asked in queries.values()
    ]
    print(f"{levels:3} levels: overlap at 100 of {min(shares):.2%}")

# %% [markdown]
# **3. A bound that lies.** Suppose the bound added its terms from the
# largest to the smallest, since this is more accurate, while the scores keep
# the order of the vocabulary. Is the search still exact?
#
# ```{admonition} Answer
# :class: dropdown
# Not always. The bound is then another rounded sum than the score's, and may
# come out below it by a rounding error, even where each of its addends is at
# least as large. A document in the skipped block could have been better by
# one unit in the last place. It would happen rarely, which makes it worse.
# ```
#
# **4. Two threads.** Our search gives each thread other queries. One could
# give each thread other blocks of the same query instead. What would that
# gain, and what would it lose?
#
# ```{admonition} Answer
# :class: dropdown
# A single query would be answered sooner. But threads would have to agree on
# the worst of the $k$ best so far, or each would skip less than it could;
# and with many queries at once, which is how a collection is evaluated,
# nothing would be gained, since all threads are busy anyway.
# ```
