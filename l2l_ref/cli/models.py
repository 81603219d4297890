"""List the optimizers that ship with the package: how each was trained and what it scores."""

import json

from ..pretrained import models
from .arguments import JSON


def configure(parser):
    parser.add_argument("--json", action="store_true", help=f"{JSON}: the cards of the optimizers")


def run(args):
    cards = models()
    if args.json:
        print(json.dumps({"models": cards}))
        return 0
    for card in cards:
        model, score = card["model"], card["score"]
        print(card["name"])
        settings = (f"{name.replace('_', ' ')} {'any' if value is None and name == 'dim' else value}"
                    for name, value in model.items() if name != "model")
        print(f"  model    {model['model']}, {', '.join(settings)}")
        print(f"  problem  {', '.join(f'{key} {value}' for key, value in card['problem'].items())}")
        print(f"  trained  {card['command']}")
        print(f"           seed {card['seed']}, {card['epochs']} epochs (best: {card['best_epoch']}), "
              f"{card['minutes']} min, version {card['version']}")
        what = "best value after {} queries" if model["model"] == "proposer" else "f({})"
        print(f"  score    {what.format(score['steps'])} {score['final']:.4g}, sum over the steps {score['sum']:.4g}, "
              f"mean over {score['functions']} test functions"
              + " of each number of dimensions" * ("final of each" in score))
    return 0
