"""Source text of the few modules that torch.nn has not; written into a file that needs them."""

from __future__ import annotations

from collections.abc import Iterable

_CONSTANT = '''
class Constant(nn.Module):
    """An array that the layer takes from its config."""

    def __init__(self, shape):
        super().__init__()
        self.register_buffer("value", torch.zeros(shape))

    def forward(self):
        return self.value
'''

_SCALE = '''
class Scale(nn.Module):
    """x * weight, broadcast."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x * self.weight
'''

_PRELU = '''
class BroadcastPReLU(nn.Module):
    """A PReLU whose slopes are not one for each channel."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x.clamp(min=0) + self.weight * x.clamp(max=0)
'''

_EINSUM = '''
class EinsumLinear(nn.Module):
    """torch.einsum of the input and the weight, and a bias."""

    def __init__(self, equation, shape, bias_shape=None):
        super().__init__()
        self.equation = equation
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = None if bias_shape is None else nn.Parameter(torch.zeros(bias_shape))

    def forward(self, x):
        x = torch.einsum(self.equation, x, self.weight)
        return x if self.bias is None else x + self.bias
'''

_SEPARABLE = '''
def separable(depthwise, pointwise):
    """Two convolutions, one after the other."""
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))
'''

_SAME_PADS = '''
def same_pads(x, kernel, stride):
    """What Keras' padding="same" adds to `x`: where it is odd, more after. For F.pad."""
    pads = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride)):
        total = max(0, (-(-size // s) - 1) * s + k - size)
        pads += [total // 2, total - total // 2]
    return pads
'''

_AVERAGE = '''
class SamePadAveragePool(nn.Module):
    """Averages of windows that leave the padding out, however uneven it is."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]

    def forward(self, x):
        pads = same_pads(x, self.kernel, self.stride)
        inside = F.pad(torch.ones_like(x[:1, :1]), pads)
        sums = self.pool(F.pad(x, pads), self.kernel, self.stride)
        return sums / self.pool(inside, self.kernel, self.stride)
'''

_STEPS = '''
class Steps(nn.Module):
    """A recurrent layer step by step: what nn.LSTM, nn.GRU and nn.RNN have no options for.

    Names and layouts of the weights are those of torch.nn. A masked step repeats the output
    before it, or has zeros.
    """

    def __init__(self, input_size, units, gates, states, bias, bias_hh):
        super().__init__()
        self.units, self.states = units, states
        self.weight_ih_l0 = nn.Parameter(torch.zeros(gates * units, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.zeros(gates * units, units))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(gates * units)) if bias else None
        self.bias_hh_l0 = nn.Parameter(torch.zeros(gates * units)) if bias_hh else None

    def forward(self, x, state=None, mask=None, zeros=False):
        if state is None:
            state = (x.new_zeros(x.shape[0], self.units),) * self.states
        output, outputs = torch.zeros_like(state[0]), []
        for t in range(x.shape[1]):
            new = self.step(x[:, t], *state)
            if mask is None:
                output, state = new[0], new
            else:
                keep = mask[:, t, None]
                output = torch.where(keep, new[0], 0 if zeros else output)
                state = tuple(torch.where(keep, n, s) for n, s in zip(new, state))
            outputs.append(output)
        return torch.stack(outputs, 1), state
'''

_STEP_RNN = """
class StepRNN(Steps):
    def __init__(self, input_size, units, activation, bias=True):
        super().__init__(input_size, units, 1, 1, bias, False)
        self.activation = activation

    def step(self, x, h):
        x = F.linear(x, self.weight_ih_l0, self.bias_ih_l0) + F.linear(h, self.weight_hh_l0)
        return (self.activation(x),)
"""

_STEP_LSTM = """
class StepLSTM(Steps):
    def __init__(self, input_size, units, activation, recurrent_activation, bias=True):
        super().__init__(input_size, units, 4, 2, bias, False)
        self.activation, self.recurrent_activation = activation, recurrent_activation

    def step(self, x, h, c):
        x = F.linear(x, self.weight_ih_l0, self.bias_ih_l0) + F.linear(h, self.weight_hh_l0)
        i, f, g, o = x.chunk(4, -1)
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
        return self.recurrent_activation(o) * self.activation(c), c
"""

_STEP_GRU = '''
class StepGRU(Steps):
    """Where not reset_after, the reset gate acts before the product with the weights."""

    def __init__(
        self, input_size, units, activation, recurrent_activation, bias=True, reset_after=True
    ):
        super().__init__(input_size, units, 3, 1, bias, bias and reset_after)
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self.reset_after = reset_after

    def step(self, x, h):
        r, z, n = F.linear(x, self.weight_ih_l0, self.bias_ih_l0).chunk(3, -1)
        if self.reset_after:
            r_h, z_h, n_h = F.linear(h, self.weight_hh_l0, self.bias_hh_l0).chunk(3, -1)
            r = self.recurrent_activation(r + r_h)
            n_h = r * n_h
        else:
            r_w, z_w, n_w = self.weight_hh_l0.chunk(3)
            r, z_h = self.recurrent_activation(r + F.linear(h, r_w)), F.linear(h, z_w)
            n_h = F.linear(r * h, n_w)
        z = self.recurrent_activation(z + z_h)
        return (z * h + (1 - z) * self.activation(n + n_h),)
'''

_MULTI_HEAD = '''
class MultiHeadAttention(nn.Module):
    """Keras' attention: heads of any width, fewer of them for keys and values if so wished.

    Where nothing may be attended to it is the mean of all, or 0 if `zeros`.
    """

    def __init__(
        self,
        query,
        value,
        key,
        heads,
        key_heads,
        key_dim,
        value_dim,
        output,
        bias=True,
        zeros=False,
    ):
        super().__init__()
        self.zeros = zeros
        self.heads, self.key_heads, self.scale = heads, key_heads, key_dim**-0.5
        self.q_proj = nn.Linear(query, heads * key_dim, bias=bias)
        self.k_proj = nn.Linear(key, key_heads * key_dim, bias=bias)
        self.v_proj = nn.Linear(value, key_heads * value_dim, bias=bias)
        self.out_proj = nn.Linear(heads * value_dim, output, bias=bias)

    def split(self, x, heads):
        x = x.unflatten(-1, (heads, -1)).transpose(1, 2)
        return x.repeat_interleave(self.heads // heads, 1)

    def forward(self, query, value, key, mask=None):
        q = self.split(self.q_proj(query), self.heads)
        k = self.split(self.k_proj(key), self.key_heads)
        v = self.split(self.v_proj(value), self.key_heads)
        if mask is not None and mask.dim() == 3:
            mask = mask[:, None]
        scores = q @ k.transpose(-1, -2) * self.scale
        if mask is not None:
            scores = torch.where(mask, scores, -1e9)
        weights = torch.softmax(scores, -1)
        if mask is not None and self.zeros:
            weights = torch.where(mask, weights, 0.0)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))
'''

# name -> (the parts it needs, its source)
PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "Constant": ((), _CONSTANT),
    "Scale": ((), _SCALE),
    "BroadcastPReLU": ((), _PRELU),
    "EinsumLinear": ((), _EINSUM),
    "separable": ((), _SEPARABLE),
    "same_pads": ((), _SAME_PADS),
    "SamePadAveragePool": (("same_pads",), _AVERAGE),
    "Steps": ((), _STEPS),
    "StepRNN": (("Steps",), _STEP_RNN),
    "StepLSTM": (("Steps",), _STEP_LSTM),
    "StepGRU": (("Steps",), _STEP_GRU),
    "MultiHeadAttention": ((), _MULTI_HEAD),
}


def sources(names: Iterable[str]) -> list[str]:
    """The text of these parts and of those they need, in an order in which it runs."""
    found: dict[str, str] = {}

    def visit(name: str) -> None:
        needs, text = PARTS[name]
        for other in needs:
            visit(other)
        found.setdefault(name, text.strip("\n"))

    for name in names:
        visit(name)
    return list(found.values())
