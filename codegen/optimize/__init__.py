"""Graph to Graph: laws, folding, sharing, pruning and expansion to the ops that targets implement.

Tree to Tree: iterations cuts loops that Python has unrolled into turns, localize makes cheap values where they are
read, blocks optimizes each block as a Graph.
"""
