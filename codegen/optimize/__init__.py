"""Graph to Graph: laws, folding, sharing, pruning and expansion to the ops that targets implement."""
