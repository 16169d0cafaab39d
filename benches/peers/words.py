"""Models of words and characters in PyTorch: those that `char-gru` and `ptb-lstm-small` are in Brolga."""

import torch
from torch import nn


class Recurrent(nn.Module):
    """Embedding, two recurrent layers and a projection to the vocabulary."""

    def __init__(self, kind, vocabulary, hidden):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden)
        self.rnn = kind(hidden, hidden, 2, batch_first=True)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


class Step(Recurrent):
    """One step of greedy generation: a symbol and the state to the next symbol and the state behind it."""

    def forward(self, token, state):
        y, state = self.rnn(self.embed(token)[:, None], state)
        return self.out(y[:, 0]).argmax(-1), state


# name: (the module, its inputs)
MODELS = {
    "char_gru": lambda batch: (Step(nn.GRU, 65, 128), (torch.zeros(batch, dtype=torch.int64), torch.zeros(2, batch, 128))),
    "char_gru_T64": lambda batch: (Recurrent(nn.GRU, 65, 128), torch.randint(0, 65, (batch, 64))),
    "ptb_lstm_small_T20": lambda batch: (Recurrent(nn.LSTM, 10000, 200), torch.randint(0, 10000, (batch, 20))),
}


def words(name, batch, length=None):
    """The module of a workload, and its input or inputs; of other sequences than in its name if `length` is given."""
    module, inputs = MODELS[name.removesuffix(f"_b{batch}")](batch)
    return module, inputs if length is None else inputs[:, :1].expand(batch, length).contiguous()
