"""What a graft adds to a decoder: the difference of two tables."""

import copy

from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family
from seqgraft.spec import parameters
from seqgraft.spec.table import Table


def graft_table(family: Family, config: PretrainedConfig) -> Table:
    """Canonical name -> shape of the tensors that the decoder has because it sees an encoder."""
    plain = copy.copy(config)
    plain.add_cross_attention = False
    without = parameters(family.half("decoder").spec(plain))
    return {
        name: shape for name, shape in parameters(family.half("decoder").spec(config)).items() if name not in without
    }
