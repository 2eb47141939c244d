# %% [markdown]
# # SPLADE and FLOPS on real sentences
#
# **SPLADE turns a text into weights for words; what a search costs is
# decided by the words that queries and passages share, and FLOPS is how many
# a query and a passage share on average.**
#
# After this chapter you can compute a SPLADE vector from a model's logits,
# read it, say what it costs in memory and in the index, and explain why two
# regularisers that both make vectors sparser do not make searches equally
# cheap.

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
# ## The claim
#
# DiSCo reports the cost of a sparse system as FLOPS (section 4.1,
# equation 7, after {cite}`paria2020flops`): with $p_q(j)$ and $p_d(j)$ the
# shares of queries and documents in which term $j$ is active,
#
# $$\mathrm{FLOPS} = \sum_j p_q(j)\, p_d(j).$$
#
# It is said to estimate "intuitively" what an inverted index has to do. We
# check this by counting. And we check one statement of the paper that needs
# no student, since it is about the teacher:

# %%
from disco_lib.tables import claim_words, find_claim

claim = find_claim("disco", "disco-depth-rewrite-even")
claim_words(claim)

# %% [markdown]
# ## From logits to a vector
#
# A masked language model gives every position $i$ of a text a logit for
# every entry $j$ of its vocabulary: how well would the entry fit here?
# SPLADE {cite}`formal2021splade,formal2021spladev2` keeps the best position
# of each entry and dampens it,
#
# $$w_j = \max_i\, \log\bigl(1 + \mathrm{relu}(\mathrm{logit}_{ij})\bigr).$$
#
# Three texts, all from the first turn of the test split that has a history:
# what the user said, what a careful rewrite made of it, and a passage that
# answers it.

# %%
import textwrap

from disco_lib.closeup import relevant_pids
from disco_lib.conversations import context_text
from disco_lib.experiments import Laboratory

lab = Laboratory()
encoder = lab.encoder
rewrite = lab.tier.system("splade-rewrite")["input"]
turns = lab.turns(lab.tier.test, rewrite)
answer = min(relevant_pids(lab, turns[0]))
place = lab.collection.pids.index(answer)

texts = {
    "utterance": turns[0].utterance,
    "rewrite": context_text(turns[0], rewrite),
    "passage": lab.collection.passage_texts()[place],
}
for name, text in texts.items():
    print(f"{name + ':':11}{textwrap.shorten(text, 54)}")

# %% [markdown]
# The formula, word for word. We call it the *naive head*, because it writes
# down every logit:

# %%
import torch


def naive_head(ids, mask):
    output = encoder.model(input_ids=ids, attention_mask=mask)
    weights = torch.log1p(torch.relu(output.logits)) * mask[..., None]
    return weights.amax(dim=1)


length = lab.base_settings.document_length
given = list(texts.values())
ids, mask = encoder.pad(encoder.token_ids(given, length))
with torch.no_grad():
    vectors = naive_head(ids, mask)
print(f"{mask.shape[0]} texts of at most {mask.shape[1]} tokens")
for name, vector in zip(texts, vectors, strict=True):
    active = int((vector > 0).sum())
    print(f"{name}: {active} of {len(vector):,} terms active")

# %% [markdown]
# The active terms are word pieces, so we can read them. Some are the text's
# own; the others were *added* by the model, since it expects them in
# passages about the same thing. This is what lets a query find a passage
# that uses other words.

# %% mystnb={"figure": {"caption": "The heaviest terms of three texts. Blue terms stand in the text, grey ones were added by the model. Look for the terms that the passage has in common with the rewrite, and with the bare utterance.", "name": "splade-terms"}, "image": {"alt": "Three panels of horizontal bars with the fourteen heaviest terms of an utterance, its rewrite and a passage; terms of the text itself are blue, added terms grey."}}
from disco_lib import plots
from disco_lib.closeup import weighted_terms

tokenizer = encoder.tokenizer
encoded = encoder.encode(given, length)
terms = {
    name: weighted_terms(encoded[i], tokenizer)
    for i, name in enumerate(texts)
}
own = {name: tokenizer.tokenize(texts[name]) for name in texts}
legend = ("word piece of the text", "added by the model")
plots.term_bars(terms, own, legend, k=14)

# %% [markdown]
# ## The same vector with less memory
#
# The naive head holds one number for each position and each entry of the
# vocabulary, and training keeps them for the backward pass. Since
# $\log(1 + \mathrm{relu}(x))$ never falls with $x$, the largest weight
# belongs to the largest logit. So the library's `splade_head` looks for the
# best position without keeping anything, and then computes again only the
# logits of the entries that are active. An entry that is not active has
# value 0 and gradient 0 in both heads.

# %%
def value_and_gradients(head):
    encoder.zero_grad()
    value = head(ids, mask)
    value.square().sum().backward()
    gradients = [p.grad.clone() for p in encoder.parameters()]
    return value.detach(), gradients


naive, naive_gradients = value_and_gradients(naive_head)
lean, lean_gradients = value_and_gradients(encoder)
same = torch.allclose(naive, lean, atol=1e-5)
print("equal values (to 1e-5):", same)

size = max(g.abs().max() for g in naive_gradients)
pairs = zip(naive_gradients, lean_gradients, strict=True)
far = max((a - b).abs().max() for a, b in pairs)
same = bool(far < 1e-5 * size)
print("equal gradients (to 1e-5 of the largest):", same)

# %% [markdown]
# What it saves follows from the shapes. A batch of $B$ texts of $L$ tokens
# over a vocabulary of $V$ terms makes the naive head hold tensors of
# $B \cdot L \cdot V$ floats, of which autograd keeps more than one. The lean
# head keeps two rows of the model's width for each active entry. The second
# line is what autograd really kept, counted by asking it, with the layers
# below the head included in both.

# %%
from disco_lib.conversations import context_ids
from disco_lib.memory import kept_for_backward
from disco_lib.tables import Table

limits = lab.base_settings.limits
batch = [
    context_ids(turn, "conversation", tokenizer, limits)
    for turn in turns[:8]
]
ids, mask = encoder.pad(batch)
B, L, V = *mask.shape, encoder.vocabulary_size
active = int((encoder(ids, mask) > 0).sum())
width = encoder.model.get_output_embeddings().weight.shape[1]
own = list(encoder.parameters())
naive = kept_for_backward(lambda: naive_head(ids, mask), own)
lean = kept_for_backward(lambda: encoder(ids, mask), own)
Table.of(
    [
        {
            "MB": "from the shapes (4 bytes a number)",
            "naive head": f"{4 * B * L * V / 1e6:.1f} a tensor",
            "lean head": f"{4 * 2 * active * width / 1e6:.1f}",
        },
        {
            "MB": "kept by autograd, all layers",
            "naive head": f"{naive / 1e6:.1f}",
            "lean head": f"{lean / 1e6:.1f}",
        },
    ]
)

# %% [markdown]
# ## How often is a term active?
#
# Now all turns of the test split, given to the encoder in the four forms
# that this book compares. The encoder is the one that everything starts
# from; nothing has been trained.

# %%
INPUTS = {
    "utterance alone": "utterance",
    "all user questions": "questions",
    "full conversation": "conversation",
    "careful rewrite": rewrite,
}
queries = {}
for name, given in INPUTS.items():
    batch = [
        context_ids(turn, given, tokenizer, limits)
        for turn in turns
    ]
    queries[name] = encoder.encode(batch, limits.total)
print(f"{len(turns)} turns, {len(lab.index):,} passages")

# %% mystnb={"figure": {"caption": "Share of texts in which a term is active, terms ordered by it. A few terms are active in a large part of the passages: the long lists of the index. The longer the query's input, the more often a query asks for them.", "name": "splade-activation"}, "image": {"alt": "Five falling curves on logarithmic axes: share of texts in which the term of each rank is active, for the passages and for queries in four forms."}}
import numpy as np

from disco_lib.sparsity import activation

curves = {}
for name, rows in {**queries, "passages": lab.documents}.items():
    shares = np.sort(activation(rows))[::-1]
    shares = shares[shares > 0]
    curves[name] = (np.arange(1, len(shares) + 1), shares)
plots.curves(
    curves,
    xlabel="rank of the term by its share (no unit)",
    ylabel="share of texts with the term active",
    log=True,
)

# %% [markdown]
# The terms at the left end of the curves, with the length of their posting
# lists as a share of the collection:

# %%
in_passages = activation(lab.documents)
in_queries = activation(queries["full conversation"])
top = np.argsort(-in_passages, kind="stable")[:8]
Table.of(
    [
        {
            "term": tokenizer.convert_ids_to_tokens(int(j)),
            "passages": f"{in_passages[j]:.0%}",
            "full conversations": f"{in_queries[j]:.0%}",
        }
        for j in top
    ]
)

# %% [markdown]
# ## FLOPS, and the postings that a search touches
#
# An exact search walks the whole posting list of every active term of the
# query and makes one multiplication and one addition a posting. So we can
# count its work without a clock. For each input: the mean number of active
# terms, FLOPS by the formula, FLOPS times the number of passages, and the
# postings counted in the index.

# %%
from disco_lib.sparsity import active_terms, flops, postings_touched

touched, rows = {}, []
for name, vectors in queries.items():
    touched[name] = postings_touched(vectors, lab.index)
    cost = flops(vectors, lab.documents)
    rows.append(
        {
            "input": name,
            "active terms": f"{active_terms(vectors).mean():.1f}",
            "FLOPS": f"{cost:.2f}",
            "FLOPS × passages": f"{cost * len(lab.index):,.1f}",
            "postings a query": f"{touched[name].mean():,.1f}",
        }
    )
Table.of(rows)

# %% [markdown]
# The last two columns agree, and not by chance: term $j$ has $N p_d(j)$
# postings, so a query costs $N \sum_j [q_j > 0]\, p_d(j)$ of them, and the
# mean of $[q_j > 0]$ over queries is $p_q(j)$. **FLOPS is the mean number
# of postings of a query, divided by the number of passages $N$**, or, seen
# from a passage, the number of terms that it shares with a query. What it
# leaves out is the spread around that mean, and the time that an engine
# saves by skipping ({doc}`../book/how_numbers` says how we use it).
#
# The number of active terms is a weaker guide, because lists differ in
# length:

# %% mystnb={"figure": {"caption": "Each dot is one query. Above the line a query asks for terms whose lists are longer than the average list. At the same number of active terms, queries differ in the postings they touch.", "name": "splade-postings"}, "image": {"alt": "Scatter plot of postings touched against active terms for queries in four forms, with a straight line for lists of average length."}}
lengths = lab.index.postings.counts
plots.scatter(
    {n: (active_terms(v), touched[n]) for n, v in queries.items()},
    xlabel="active terms of the query",
    ylabel="postings touched by the query",
    line=(lengths[lengths > 0].mean(), "lists of average length"),
)

# %% [markdown]
# ## Depth
#
# A conversation grows, and the encoder reads more of it at every turn. Does
# the vector grow with it? Depth 2 is the first turn that has a history.

# %% mystnb={"figure": {"caption": "Active terms by depth of the turn, with 95 % intervals over turns; depths of fewer than ten turns are left out. Compare the line of the rewrite with that of the full conversation, which levels off when the input reaches its limit of tokens.", "name": "splade-depth"}, "image": {"alt": "Four lines of mean active terms against depth of the turn with shaded intervals: utterance alone, all user questions, full conversation and careful rewrite."}}
from disco_lib.significance import intervals_by

depths = [turn.depth for turn in turns]
plots.lines(
    {
        name: [
            plots.Point(mean, low, high, x=depth)
            for depth, mean, low, high in intervals_by(
                active_terms(vectors), depths
            )
        ]
        for name, vectors in queries.items()
    },
    xlabel="depth of the turn (turns from the start)",
    ylabel="active terms of the query",
)

# %% [markdown]
# To test what the figure shows, we cut each conversation in the middle and
# compare its later turns with its earlier ones, paired by conversation:

# %%
from disco_lib.significance import compare, late_and_early
from disco_lib.tables import p_value

rows = []
for name, vectors in queries.items():
    late, early = late_and_early(active_terms(vectors), turns)
    test = compare(late, early)
    rows.append(
        {
            "input": name,
            "earlier turns": f"{early.mean():.1f}",
            "later turns": f"{late.mean():.1f}",
            "difference": f"{test.difference:+.1f} "
            f"[{test.low:+.1f}, {test.high:+.1f}]",
            "p": p_value(test.p_t),
        }
    )
Table.of(rows)

# %% [markdown]
# ## Two regularisers
#
# Training makes vectors sparse by adding a penalty to the loss. Two are in
# use: the mean L1 norm, and the smooth stand-in for FLOPS of Paria et al.
# {cite}`paria2020flops`, $\sum_j \bar{w}_j^2$ with $\bar{w}_j$ the mean
# weight of term $j$ in the batch. Their gradients say what they press on.
# For L1 every active weight feels the same pull. For FLOPS the pull grows
# with $\bar{w}_j$: a term that many texts use, heavily, is pressed most. A
# batch of a thousand turns at most is enough to see it.

# %%
from disco_lib import losses

some = turns[:1000]
full = queries["full conversation"][:1000]
batch = torch.tensor(full.toarray(), requires_grad=True)
pulls = {}
for name, penalty in (("L1", losses.l1), ("FLOPS", losses.flops)):
    (gradient,) = torch.autograd.grad(penalty(batch), batch)
    pulls[name] = gradient.amax(dim=0).numpy() * len(some)

# %% mystnb={"figure": {"caption": "How strongly each regulariser presses on a term's weight (its gradient times the number of queries), against the share of full conversations that activate the term. L1 presses on all alike. FLOPS presses on what many queries share, and hardly at all on rare terms.", "name": "splade-pull"}, "image": {"alt": "Scatter plot of gradient against share of queries with the term active: the dots of L1 form a level line, those of FLOPS rise with the share; the most pressed terms are named."}}
in_queries = activation(full)
used = in_queries > 0
most = np.argsort(-pulls["FLOPS"], kind="stable")[:6]
plots.scatter(
    {n: (in_queries[used], p[used]) for n, p in pulls.items()},
    xlabel="share of queries with the term active",
    ylabel="pull on a weight (no unit)",
    names={
        tokenizer.convert_ids_to_tokens(int(j)): (
            in_queries[j],
            pulls["FLOPS"][j],
        )
        for j in most
    },
)

# %% [markdown]
# An example makes the difference count. Each regulariser takes one step
# against the untrained encoder's vectors of the full conversations, just so
# long that a quarter of the active entries is left. Both leave equally many
# terms. Do they leave equally cheap searches, and do they find the same?

# %%
from disco_lib.closeup import evaluate_queries
from disco_lib.sparsity import shrink

rows = []
for name, vectors in {
    "as they are": full,
    "after a step of L1": shrink(full, pulls["L1"], 0.25),
    "after a step of FLOPS": shrink(full, pulls["FLOPS"], 0.25),
}.items():
    means = evaluate_queries(lab, vectors, some).mean()
    rows.append(
        {
            "vectors": name,
            "active terms": f"{active_terms(vectors).mean():.1f}",
            "FLOPS": f"{flops(vectors, lab.documents):.2f}",
            "MRR@10": f"{means['MRR@10']:.3f}",
            "R@100": f"{means['R@100']:.3f}",
        }
    )
Table.of(rows)

# %% [markdown]
# One step is no training: a real student can move weight to other terms
# while it is pressed. What students do under regularisation is measured in
# later chapters. One thing is worth keeping in mind for them: DiSCo's public
# recipe presses on queries through L1 alone, since the passages, which have
# the FLOPS penalty, are not trained.
#
# ## The verdict
#
# The rule stands with the claim in `data/papers`, and was written before it
# was applied: what the rewrite's active terms gain from the earlier to the
# later half of a conversation has to stay, with its whole 95 % interval,
# within a margin.

# %%
from disco_lib.claims import judge
from disco_lib.tables import verdict_table, verdict_words

verdict = judge(claim, lab.tier.name, lab.record_if_there)
verdict_words(verdict)

# %%
verdict_table(verdict)

# %% [markdown]
# And the word "intuitively" can go: the largest distance between FLOPS times
# the passages and the postings counted, over the four inputs, is

# %%
N = len(lab.index)
ratios = [
    N * flops(vectors, lab.documents) / touched[name].mean()
    for name, vectors in queries.items()
]
print(f"{max(abs(ratio - 1) for ratio in ratios):.4%} of the count")

# %% [markdown]
# ```{admonition} On an A100
# :class: note
# The chapter runs unchanged with `DISCO_TIER` set to a larger tier. With an
# encoder of BERT's width and inputs of 256 tokens the naive head is what
# fills the card's memory first, and the lean head is what lets a batch grow.
# We have not run that tier, so no times stand here.
# ```
#
# ## Exercises
#
# **1. Cheap terms, dear terms.** Take the ten terms with the longest posting
# lists out of every query of full conversations. How many postings does that
# save, and what does it cost in MRR@10?

# %% tags=["hide-cell"]
# Answer: a few terms carry a good part of the work.
dear = np.argsort(-lengths, kind="stable")[:10]
kept = np.ones(encoder.vocabulary_size, dtype=np.float32)
kept[dear] = 0
trimmed = full.multiply(kept).tocsr().astype(np.float32)
trimmed.eliminate_zeros()
left = postings_touched(trimmed, lab.index).sum()
saved = 1 - left / postings_touched(full, lab.index).sum()
before = evaluate_queries(lab, full, some).mean()["MRR@10"]
after = evaluate_queries(lab, trimmed, some).mean()["MRR@10"]
print(f"{saved:.0%} of the postings saved")
print(f"MRR@10 {before:.3f} before, {after:.3f} after")

# %% [markdown]
# **2. Whose FLOPS?** A footnote of the paper says that FLOPS depends on the
# queries. Compute it for the rewrites of the training turns, and for the
# passages used as queries, with the same encoder and index.

# %% tags=["hide-cell"]
# Answer: the same encoder has a different FLOPS for each kind of query.
name = rewrite.removeprefix("rewrite:")
train = [
    turn
    for turn in lab.collection.iter_turns(lab.tier.train)
    if turn.history and turn.rewrites.get(name)
]
batch = [
    context_ids(turn, rewrite, tokenizer, limits)
    for turn in train[:500]
]
asked = {
    "rewrites, test": queries["careful rewrite"],
    "rewrites, train": encoder.encode(batch, limits.total),
    "passages": lab.documents,
}
for name, vectors in asked.items():
    print(f"{name:16} FLOPS {flops(vectors, lab.documents):6.2f}")

# %% [markdown]
# **3. A term that died.** Suppose training has pushed every logit of a term
# below zero, for every text. Which gradient do L1, FLOPS and the ranking
# loss give it?
#
# ```{admonition} Answer
# :class: dropdown
# None at all. The relu is flat below zero, so no loss on the vector reaches
# the logit, and the term can come back only as a side effect of changes to
# the layers below. This is why SPLADE lets the regulariser's weight grow
# slowly, and why DiSCo's code adds a term that grows without bound when a
# whole vector dies (`losses.anti_zero`).
# ```
#
# **4. Why no maximum of the sum?** One could add up a term's weights over
# positions instead of taking the largest. What would that do to the vector
# of a long conversation?
#
# ```{admonition} Answer
# :class: dropdown
# Weights would grow with the length of the text, and words that are said
# again and again, such as those of the conversation's first topic, would
# outweigh the last question. The active terms, and so FLOPS, would stay the
# same: both forms are zero for the same terms.
# ```
