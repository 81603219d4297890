"""A learned optimizer as a ``torch.optim.Optimizer``, for the parameters of a torch module on the CPU."""

import torch

import l2l_ref as l2l


class Learned(torch.optim.Optimizer):
    def __init__(self, params, optimizer, **settings):
        super().__init__(params, {})
        self.tensors = [p for group in self.param_groups for p in group["params"]]
        self.optimizer = optimizer
        self.learned = optimizer.init([p.detach().numpy() for p in self.tensors], **settings)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        gradient = [(torch.zeros_like(p) if p.grad is None else p.grad).numpy() for p in self.tensors]
        update, self.learned = self.optimizer.update(gradient, self.learned)
        for p, u in zip(self.tensors, update):
            p += torch.from_numpy(u)
        return loss


torch.manual_seed(0)
torch.set_num_threads(1)
train, test = (l2l.datasets.load("digits", split) for split in ("train", "test"))
x, y, x_test, y_test = (torch.from_numpy(a) for data in (train, test)
                        for a in (data.images.astype("float32") / data.scale, data.labels.astype("int64")))
net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = Learned(net.parameters(), l2l.load("general"), steps=200)
for _ in range(200):
    rows = torch.randint(len(x), (64,))
    loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
accuracy = (net(x_test).argmax(dim=1) == y_test).float().mean()
print(f"loss {loss:.3f}, {accuracy:.1%} of the test images right")

assert accuracy > 0.9
