# %% [markdown]
# # Data sets: what the numbers are measured on
#
# **A conversational test collection is passages, conversations, and for
# each turn the passages that answer it; how long, how winding and how
# alike its conversations are decides what a result on it can mean.**
#
# After this chapter you can read a turn of a collection and say where each
# field comes from, place the book's small collection beside the published
# ones, tell how much of a conversation an encoder gets to see, and check
# what the training and the test split have in common.

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
# ## What a test collection is made of
#
# Four things. The **passages** are what is searched. A **conversation** is a
# row of **turns**: a person says something, the *utterance*, and a system
# answers. The **judgements** say which passages are relevant for a turn.
# And because an utterance seldom stands alone, somebody may have written
# **rewrites**: the same question for a reader who has not heard the rest.
#
# A laboratory knows which collection its tier uses:

# %%
from disco_lib.experiments import Laboratory

lab = Laboratory()
collection = lab.collection
print(f"{collection.name}: {len(collection.passages):,} passages")
for split in collection.splits:
    print(f"{split:5} {len(collection.turns(split)):6,} turns")

# %% [markdown]
# Train, dev and test are *splits*: sets of whole conversations. Students
# learn from the first, settings are chosen on the second, and results come
# from the third. Here is the first turn of the test split that has two
# exchanges behind it and a relevant passage:

# %%
from disco_lib.portrait import rewrites_script, turns_by_split

turns = turns_by_split(collection)
train, test = turns[lab.tier.train], turns[lab.tier.test]
careful = lab.tier.system("splade-rewrite")["input"]
careful = careful.removeprefix("rewrite:")

turn = next(
    turn
    for turn in test
    if turn.depth == 3 and turn.positives and careful in turn.rewrites
)
print(turn.turn_id, "at depth", turn.depth)
print(rewrites_script(turn, [careful], width=64))

# %% [markdown]
# *Depth* counts turns from the start: the third turn has depth 3. The
# *history* is what was said before. The name of the rewrite is that of the
# *rewriter*; the one shown is the careful one, which comes with the data. Now
# the judgements, and the first of the passages behind them:

# %%
import textwrap

judged = collection.judgements(lab.tier.test)[turn.turn_id]
print("grades by passage:", judged)
place = collection.pids.index(turn.positives[0])
passage = collection.passages[place]
print(passage["title"] or "(no title)")
print(textwrap.fill(passage["text"], 64))

# %% [markdown]
# A grade above 0 means relevant, and a higher grade more so. A passage that
# is relevant for a turn is one of its *positives*. All others count as not
# relevant, whether somebody has looked at them or not.
#
# ## One conversation
#
# Tables hide what people say, so here is one conversation from its first
# word to its last. A rule picked it, not we: of the training
# conversations of usual length (the median), the one with the most kinds of
# turn; of equals, the one with the fewest words.

# %%
from disco_lib.closeup import titles
from disco_lib.portrait import script, telling_conversation

names = titles(lab)
print(script(telling_conversation(train), careful, names, width=64))

# %% [markdown]
# Read the lines marked *user* alone, and ask at which turn you are lost.
# That is what a search engine gets when it is given the utterance alone.
#
# ## Beside the published sets
#
# DiSCo uses five collections (section 4.1, Table 1). **QReCC**
# {cite}`anantha2021qrecc` has the most turns. In **TopiOCQA**
# {cite}`adlakha2022topiocqa` conversations wander from one Wikipedia page to
# the next. The tracks **TREC CAsT** {cite}`dalton2020cast` and **iKAT** have
# few conversations, made with care and judged in depth; DiSCo only tests on
# them. Their numbers below are those of the paper. Those of the last rows
# were counted just now, in the collection at hand.

# %%
from disco_lib.papers import load_paper
from disco_lib.portrait import published_sizes, sizes
from disco_lib.tables import Table, Words

paper = load_paper("disco")
published = published_sizes(paper, "1")
own = sizes(collection, turns)
Table.of([size.row() for size in [*published, *own]])

# %% mystnb={"figure": {"caption": "Turns and passages of each collection, one dot a split; both axes are logarithmic. In turns the small collection lies among the published ones. In passages it lies far below all of them.", "name": "data-sizes"}, "image": {"alt": "Scatter plot on logarithmic axes: the published sets lie high up with tens of millions of passages, the splits of the collection at hand at the bottom."}}
import numpy as np

from disco_lib import plots

dots = {}
for size in [*published, *own]:
    x, y = dots.setdefault(size.data, ([], []))
    x.append(size.turns)
    y.append(size.passages)
plots.scatter(
    {n: (np.array(x), np.array(y)) for n, (x, y) in dots.items()},
    xlabel="turns of the split",
    ylabel="passages that are searched",
    log=True,
)

# %% [markdown]
# What follows from the gap? Finding one passage among a thousand is easy,
# among millions it is not. So a value on a small collection lies far above
# the published one and must not be set beside it. What can be compared is
# which of two systems is better, on the same collection.
#
# ## What `mini` is not
#
# The collection that comes with the book, `mini`, was written for it. That
# buys three things: every chapter runs in minutes, nothing has to be
# downloaded, and the data may be printed on these pages. It costs more than
# size.
#
# - **Nobody needed the answers.** The questions were written with the
#   passages in view. Real users ask what no passage holds.
# - **One style.** One kind of English, one kind of passage.
# - **Kind rewrites.** Those who wrote them knew what they were to find.
# - **Few judgements.** One or two passages a turn are judged. Another may be
#   just as good, and counts as wrong.
#
# So `mini` is where you see how a thing works and test your code. Whether a
# claim of a paper holds is judged on the larger tiers. The data card,
# `data/mini/README.md`, says how the collection was written and what a second
# reading found.
#
# ## Depth
#
# How long do people go on?

# %% mystnb={"figure": {"caption": "Share of conversations that have a turn at each depth. Compare where the lines fall: what is tested deep in a conversation may have had few examples in training, or none.", "name": "data-depth"}, "image": {"alt": "One falling line a split: share of conversations with a turn at each depth, with the training split falling earlier than the test split."}}
from disco_lib.plots import Point
from disco_lib.portrait import reach

plots.lines(
    {
        split: [Point(y, y, y, x=depth) for depth, y in found.items()]
        for split, found in ((s, reach(r)) for s, r in turns.items())
    },
    xlabel="depth of the turn (turns from the start)",
    ylabel="share of conversations",
)

# %% [markdown]
# In `mini` the test conversations are longer than those for training. So the
# test asks a student for more than it was taught: to read a conversation of
# any length, not only of the usual one.
#
# ## Topic switches
#
# A conversation that stays with its topic is kind to a search engine: what
# was said before is always a help. After a switch it is in the way. We take
# as a turn's topic that of its first positive. A turn **switches** when its
# topic is not that of the last turn before it that has one, and **returns**
# when it then goes to a topic that was there earlier.

# %%
from disco_lib.portrait import passage_topics, topic_row

topics = passage_topics(collection)
rows = [(split, topic_row(found, topics)) for split, found in turns.items()]
rows = [{"split": split, **row} for split, row in rows if row]
no_topics = Words("The passages of this data set name no topic.")
Table.of(rows) if rows else no_topics

# %% mystnb={"figure": {"caption": "Share of turns that leave the topic of the turn before, by depth, with 95 % intervals over turns; depths of fewer than ten turns are left out. Look for the depth from which switches become common.", "name": "data-switches"}, "image": {"alt": "One line a split with a shaded interval: share of turns that switch the topic against depth of the turn."}}
from disco_lib.portrait import switches_by_depth

series = {s: switches_by_depth(r, topics) for s, r in turns.items()}
series = {split: points for split, points in series.items() if points}
plots.lines(
    series,
    xlabel="depth of the turn (turns from the start)",
    ylabel="share of turns that switch",
) if series else no_topics

# %% [markdown]
# In `mini` every conversation of dev and test leaves its topic, and fewer
# than half of those for training do. The out-of-domain split, `ood`, is new
# in what it talks about, not in how it wanders.
#
# The paper calls TopiOCQA hard because its topic changes "every few turns"
# (section 5.3). It gives no count, so there is nothing to hold the last
# column of the table against.
#
# ## Lengths
#
# How much text is there to read? First in words, over all splits:

# %% mystnb={"figure": {"caption": "Share of texts of at most so many words; blank texts are left out. The further right a curve, the longer the texts. Utterances and rewrites are close to each other, answers are longer, and passages are several times as long.", "name": "data-words"}, "image": {"alt": "Four rising curves of the share of texts of at most a number of words: utterances, careful rewrites, answers and passages."}}
from disco_lib.portrait import cumulative, passage_words, word_counts

every = [turn for found in turns.values() for turn in found]
texts = {
    "utterances": [turn.utterance for turn in every],
    "careful rewrites": [t.rewrites.get(careful, "") for t in every],
    "answers": [turn.answer for turn in every],
}
counts = {name: word_counts(found) for name, found in texts.items()}
counts["passages"] = passage_words(collection)
plots.curves(
    {name: cumulative(found) for name, found in counts.items()},
    xlabel="length of the text (words)",
    ylabel="share of texts of at most this length",
)

# %% [markdown]
# A model reads *word pieces*, and not without end. The order is that of
# DiSCo: the last utterance first, then answers and utterances from the
# newest to the oldest. What is beyond the limit is cut, so the beginning of
# the conversation is lost first.

# %%
from disco_lib.portrait import piece_counts, spread_by

given = f"rewrite:{careful}"
asked = lab.turns(lab.tier.test, given)
INPUTS = {
    "full conversation": "conversation",
    "all user questions": "questions",
    "utterance alone": "utterance",
    "careful rewrite": given,
}
tokenizer, limits = lab.encoder.tokenizer, lab.base_settings.limits
depths = [turn.depth for turn in asked]
pieces = {
    name: spread_by(piece_counts(asked, given, tokenizer), depths)
    for name, given in INPUTS.items()
}

# %% mystnb={"figure": {"caption": "Length of four inputs by depth, before anything is cut: median over the turns of the test split, with the range from the 10th to the 90th percentile; depths of fewer than ten turns are left out. What lies above a dashed line is never read under that limit. Only the full conversation gets there.", "name": "data-pieces"}, "image": {"alt": "Four lines of word pieces against depth; the full conversation climbs steadily and crosses the dashed lines of this tier's and the paper's limit, the other inputs stay below."}}
from disco_lib.portrait import with_levels

figure = plots.lines(
    pieces,
    xlabel="depth of the turn (turns from the start)",
    ylabel="length of the input (word pieces)",
)
published_limit = paper.recipe["total_tokens"]
levels = {
    f"limit of this tier, {limits.total}": limits.total,
    f"limit of the paper, {published_limit}": published_limit,
}
with_levels(figure, levels)

# %% [markdown]
# The same for all turns of the test split, as numbers. Besides the limit of
# the whole there is one for each utterance and each answer; both are part of
# the count.

# %%
from disco_lib.portrait import cut_rows

print("limits in word pieces:", limits)
Table.of(cut_rows(test, tokenizer, limits))

# %% [markdown]
# Is that a loss? It depends on how far back a turn reaches; exercise 2 looks
# into it. The paper has seen conversations grow as well:

# %%
longest = paper.fact("context-tokens-most")
print(f"{longest['value']} {longest['unit']}: {longest['what']}")
print(f"({longest['where']})")

# %% [markdown]
# ## Kinds of turn
#
# Why does an utterance need its conversation? In `mini` each turn has the
# reason that seemed most telling. One example of each, the first in the
# training split:

# %%
from disco_lib.portrait import kind_examples

examples = kind_examples(train, careful)
no_kinds = Words("The turns of this data set are of no named kind.")
Table.of(examples) if examples else no_kinds

# %% mystnb={"figure": {"caption": "Share of each kind among the turns of a split. Where the dots of a row lie apart, the split differs from the others: the out-of-domain split is the one to look at.", "name": "data-kinds"}, "image": {"alt": "Dot plot with one row a kind of turn and one dot a split, giving the share of turns of that kind."}}
from disco_lib.portrait import kind_shares, share_dots

kinds = {split: kind_shares(found) for split, found in turns.items()}
share_dots(kinds, "share of the split's turns") if examples else no_kinds

# %% [markdown]
# ## The rewriters
#
# A collection may hold more than one rewrite of a turn. Each rewriter can be
# a teacher: DiSCo has people and two language models. There are others that
# need no model at all: historical query expansion {cite}`lin2021hqe`
# appends salient words of earlier utterances. Which ones are here?

# %%
from disco_lib.portrait import rewriter_names, rewriter_rows
from disco_lib.rewrites import read_notes

rewriters = rewriter_names(every, first=careful)
later = [turn for turn in test if turn.history]
notes = read_notes(collection.folder)
Table.of(rewriter_rows(later, rewriters, notes))

# %% [markdown]
# Counted are the turns of the test split that have a history. *Words* is the
# mean length, *unchanged* the share of rewrites that have just the
# utterance's words. *From nowhere* is the share of a rewrite's content words
# that nobody has said so far: a synonym, a word made from another, or
# something that the rewriter brought along. Where the last column has
# a command, it makes the rewrites again.
#
# Five turns, at equal distances in the test split, so that nobody picked
# them:

# %%
from disco_lib.portrait import evenly

for turn in evenly(asked, 5):
    print(rewrites_script(turn, rewriters, width=64), end="\n\n")

# %% mystnb={"figure": {"caption": "Length of the utterances and of each rewriter's texts, over the test split's turns with a history. A curve further right is a rewriter of more words; one with a long tail sometimes runs on.", "name": "data-rewriters"}, "image": {"alt": "Rising curves of the share of texts of at most a number of words, one for the utterances and one for each rewriter."}}
by_rewriter = {"utterance": word_counts(t.utterance for t in later)}
for name in rewriters:
    found = word_counts(t.rewrites.get(name, "") for t in later)
    by_rewriter |= {name: found} if len(found) else {}
plots.curves(
    {name: cumulative(found) for name, found in by_rewriter.items()},
    xlabel="length of the text (words)",
    ylabel="share of texts of at most this length",
)

# %% [markdown]
# Whether a longer rewrite finds more is a question for the search engine,
# not for this chapter.
#
# ## What the splits share
#
# A student that has seen the test in training proves nothing. Between
# conversations that share a collection of passages, several things can leak:
# a whole conversation, a question, a passage that was right once and is
# right again. For every split, what it has in common with training:

# %%
from disco_lib.portrait import overlap_row

Table.of(
    [
        {"split": s, **overlap_row(found, train, topics, careful)}
        for s, found in turns.items()
        if s != lab.tier.train
    ]
)

# %% [markdown]
# *Rewrites* are those that stand word for word in both. The second column
# with passages counts turns: of those with a positive, how many have one
# that was a positive in training too?
#
# In `mini` no conversation and no question is shared. Some passages are, and
# so are all topics of dev and test: the three splits draw on the same ten
# domains. This has a consequence. A student may have learnt which words lead
# to *these* topics rather than how to read *any* conversation, and the test
# split cannot tell.
#
# That is why the split `ood` (*out of domain*) exists. Its two domains,
# cities and crafts, occur in no training turn, neither as subject nor as
# positive, and its people talk differently. It is to the other splits what
# CAsT and iKAT are to QReCC in the paper. Its passages lie in the same
# collection, among all the others.
#
# ## Checked
#
# Every data set can be checked, yours too: `disco data verify NAME`, or the
# same from Python. A collection that was written for a book has to pass
# more: its card asks for checks of the language, so that questions do not
# come from a mill and answers are not copied from passages.

# %%
from disco_lib.portrait import check_rows
from disco_lib.verification import verify

Table.of(check_rows(verify(collection)))

# %% [markdown]
# A row without a verdict is a count, for which there is no rule.
#
# ## What the numbers say
#
# None of the paper's claims in `data/papers` is about the data sets, so this
# chapter ends without a verdict. What to keep in mind for the others:

# %%
fewest = min(size.passages for size in published)
wandering = topic_row(test, topics).get("with a switch", "not known")
cut = piece_counts(test, "conversation", tokenizer, limits)
cut = cut < piece_counts(test, "conversation", tokenizer)
shared = overlap_row(test, train, topics, careful)
facts = {
    "passages, for each one here, in the smallest published set": (
        f"{fewest / len(collection.passages):,.0f}"
    ),
    "turns a conversation, test": (
        f"{len(test) / len({turn.conv_id for turn in test}):.1f}"
    ),
    "conversations with a topic switch, test": wandering,
    "turns whose conversation is cut, test": f"{cut.mean():.0%}",
    "positive passages of test seen in training": (
        shared["positive passages"]
    ),
}
Table.of([{"what": name, "value": x} for name, x in facts.items()])

# %% [markdown]
# - **In its passages `mini` is a toy.** Compare systems on it, never values
#   with published ones.
# - **In its conversations it is not.** Those of test have about as many
#   turns as those of TopiOCQA, and they switch topics and come back.
# - **Long conversations are cut.** From some depth on, no encoder that reads
#   them sees the beginning, whatever its training.
# - **Test is close to training, `ood` is not.** A claim about new domains
#   needs the latter.
#
# ```{admonition} On an A100
# :class: note
# With `DISCO_TIER` and `DISCO_DATA` set, the chapter describes any other
# collection in the native form ({doc}`00_start_here` shows it). All that it
# computes is counts, and no card is needed. Topics and kinds are shown where
# the data names them. We have run it on `mini` and on QReCC's conversations
# with their answers, not on collections of millions of passages.
# ```
#
# ## Exercises
#
# **1. Words and table.** Section 4.1 also gives the sizes of QReCC and
# TopiOCQA in round numbers. Do they fit the table?

# %% tags=["hide-cell"]
# Answer: add up the splits of each set and round to thousands.
rows = []
for data in ("QReCC", "TopiOCQA"):
    for what in ("conversations", "turns"):
        sets = [size for size in published if size.data == data]
        total = sum(getattr(size, what) for size in sets)
        stated = paper.fact(f"{data.lower()}-{what}")["value"]
        rows.append(
            {
                "data": data,
                "of": what,
                "in words": f"{stated:,}",
                "sum of the table": f"{total:,}",
                "rounded": "yes" if round(total, -3) == stated else "no",
            }
        )
Table.of(rows)

# %% [markdown]
# **2. How far back?** Take the content words that the careful rewrite adds to the
# utterance. How many exchanges ago was each of them said last? What does it
# mean for the cut?

# %% tags=["hide-cell"]
# Answer: of what was said at all, most was said just before. The oldest
# text, which the cut takes first, is needed less often, but it is needed.
from collections import Counter

from disco_lib.portrait import content

last_said = Counter()
for turn in asked:
    exchanges = [set(content(" ".join(e))) for e in reversed(turn.history)]
    missing = set(content(turn.rewrites[careful]))
    for stem in missing - set(content(turn.utterance)):
        ago = (n for n, e in enumerate(exchanges, 1) if stem in e)
        last_said[next(ago, 0)] += 1
total = last_said.total()
for ago in (1, 2, 3):
    print(f"{ago} back       {last_said[ago] / total:4.0%}")
further = sum(n for ago, n in last_said.items() if ago > 3)
print(f"further back {further / total:4.0%}")
print(f"never said   {last_said[0] / total:4.0%}")

# %% [markdown]
# **3. Which limit?** A longer input costs time and memory. How many turns of
# the test split are cut at limits from 96 to 512 word pieces?

# %% tags=["hide-cell"]
# Answer: doubling the limit twice takes the cut from most turns to few.
from dataclasses import replace

whole = piece_counts(test, "conversation", tokenizer)
for total in (96, 128, 192, 256, 384, 512):
    trial = replace(limits, total=total)
    kept = piece_counts(test, "conversation", tokenizer, trial)
    print(
        f"{total:4} pieces: {np.mean(kept < whole):4.0%} of the turns cut,"
        f" {1 - kept.sum() / whole.sum():4.0%} of the pieces lost"
    )

# %% [markdown]
# **4. Would you notice?** You suspect that a student does well on the test
# split because it has seen some of its passages in training. Which
# comparison would show it, with what this chapter has counted?
#
# ```{admonition} Answer
# :class: dropdown
# Cut the turns of the test split in two: those with a positive that was one
# in training, and the others. On each part, take the student's gain over the
# encoder that it started from, turn by turn. The untrained encoder has seen
# neither, so it takes care of one part being easier. If the gain is there on
# unseen passages too, it is no memory of passages. For memory of topics the
# same comparison needs `ood`, since no topic of test is new.
# ```
