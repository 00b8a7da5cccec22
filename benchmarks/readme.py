"""The measured tables of the README files, made from the JSON that the benchmarks wrote.

Between the lines `<!-- table: NAME -->` and `<!-- end -->` stands what this script makes of results/NAME.json, and
nothing else. A benchmark without a JSON is said to be not measured yet; a figure that a JSON lacks is a dash.

    python benchmarks/readme.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
READMES = {"en": ROOT / "README.md", "es": ROOT / "README.es.md"}

BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DASH = "–"
HOLES = (
    "Every method learns from complete rows and fills others, with 20 % or 50 % of the cells hidden at random, or half "
    "of the columns in a block. Coverage is of intervals of 95 %; then the energy score of all that is hidden in a "
    "row, in standard deviations, lower is better. MissForest and the mean have one answer."
)

SPANISH = {
    "small": "pequeña",
    "large": "grande",
    "posterior": "posterior",
    "learned": "aprendida",
    "samples, and": "muestras, y",
    "test images for the bits; Fréchet distance of real training images": (
        "imágenes de prueba para los bits; distancia de Fréchet de imágenes reales de entrenamiento"
    ),
    "loss, variance": "pérdida, varianza",
    "loss over that of the full one": "pérdida entre la de la completa",
    "network": "red",
    "full": "completa",
    "task, method": "tarea, método",
    "PSNR of the mean": "PSNR de la media",
    "PSNR of one draw": "PSNR de una muestra",
    "coverage of 90 %": "cobertura del 90 %",
    "s per draw": "s por muestra",
    "centre": "centro",
    "scattered": "dispersos",
    "half": "mitad",
    "blur": "desenfoque",
    "mean fill": "imagen media",
    "as seen": "como se ve",
    "images,": "imágenes,",
    "draws of each; Fréchet distance of the images themselves": (
        "muestras de cada una; distancia de Fréchet de las propias imágenes"
    ),
    "time at the input": "tiempo solo a la entrada",
    "no time": "sin tiempo",
    "no skips": "sin atajos",
    "steps each": "pasos cada una",
    "samples per second": "muestras por segundo",
    "diffusion, 1000 steps": "difusión, 1000 pasos",
    "diffusion, 48 steps": "difusión, 48 pasos",
    "diffusion, 8 steps": "difusión, 8 pasos",
    "Not measured yet:": "Sin medir todavía:",
    "Measured on": "Medido el",
    "without a GPU": "sin GPU",
    "commit": "commit",
    "core": "núcleo",
    "cores": "núcleos",
    "seeds": "semillas",
    "± is the standard deviation over them.": "± es la desviación típica entre ellas.",
    "Training took": "El entrenamiento duró",
    "s, sampling": "s; el muestreo,",
    "s.": "s.",
    "898 digits train, 898 judge.": "898 dígitos entrenan y 898 juzgan.",
    "minutes of training each.": "minutos de entrenamiento cada uno.",
    "steps of training:": "pasos de entrenamiento:",
    "told nothing of holes": "sin saber de huecos",
    "trained to fill": "entrenado para rellenar",
    "accuracy of the judging classifier": "acierto del clasificador que juzga",
    "Fréchet distance over that of the better peer": "Distancia de Fréchet entre la del mejor competidor",
    "source of samples": "origen de las muestras",
    "real images (train half)": "imágenes reales (mitad de entrenamiento)",
    "Gaussian mixture, 30 components": "mezcla de 30 gaussianas",
    "kernel density": "densidad por núcleos",
    "C2ST, leave-one-out": "C2ST, dejando uno fuera",
    "C2ST, two halves": "C2ST, dos mitades",
    "precision": "precisión",
    "recall": "exhaustividad",
    "copy ratio": "razón de copia",
    "law": "ley",
    "checkerboard": "tablero de ajedrez",
    "swiss roll": "rollo suizo",
    "eight Gaussians": "ocho gaussianas",
    "sliced W2": "W2 por proyecciones",
    "exact against exact": "exacto contra exacto",
    "ratio": "razón",
    "training, s": "entrenamiento, s",
    "sampling, s": "muestreo, s",
    "real training images (floor)": "imágenes reales de entrenamiento (suelo)",
    "parameters, M": "parámetros, M",
    "training steps of 64": "pasos de entrenamiento de 64",
    "Fréchet": "Fréchet",
    "class chi-square, 9 df": "ji cuadrado de clases, 9 gl",
    "copy gauge over floor": "medidor de copias / suelo",
    "work": "trabajo",
    "training": "entrenamiento",
    "evaluation": "evaluación",
    "images per second, at equal parameter count": "imágenes por segundo, con igual número de parámetros",
    "way": "modo",
    "eager": "directo",
    "compiled": "compilado",
    "cuda graph": "grafo CUDA",
    "training, images/s": "entrenamiento, imágenes/s",
    "sampling, images x evaluations/s": "muestreo, imágenes x evaluaciones/s",
    "share of the matrix rate": "fracción del ritmo de matrices",
    "parameters, bfloat16, batches of": "de parámetros, bfloat16, lotes de",
    "samples in": "muestras en",
    "evaluations each.": "evaluaciones cada una.",
    "points per set": "puntos por conjunto",
    "method": "método",
    "theory": "teoría",
    "order": "orden",
    "error": "error",
    "Order fitted over 64 to 512 denoiser calls; error at 512.": (
        "Orden ajustado entre 64 y 512 llamadas al denoiser; error con 512."
    ),
    "evaluations": "evaluaciones",
    "oracle": "oráculo",
    "tables": "tablas",
    "table": "tabla",
    "Inside the gate of privacy:": "Dentro de la puerta de privacidad:",
    "outside:": "fuera:",
    "Most memory": "Memoria máxima",
    "largest model": "modelo mayor",
    "seconds for all": "segundos en total",
    "seconds per table": "segundos por tabla",
    "Caminito, draws": "Caminito, sorteos",
    "Caminito, centres": "Caminito, centros",
    "utility": "utilidad",
    "R2 and F1: not measured.": "R2 y F1: sin medir.",
    "Time over ours:": "Tiempo entre el nuestro:",
    "memory:": "memoria:",
    "DCR ratio: distance to training rows over that of real rows; .8 to 1.2 is asked for privacy.": (
        "Razón DCR: distancia a las filas de entrenamiento entre la de filas reales; por privacidad, de .8 a 1.2."
    ),
    "seeds of each model that is taught.": "semillas de cada modelo que aprende.",
    "density": "densidad",
    "what": "qué",
    "laws": "leyes",
    "farthest variance of any seed": "varianza más alejada de todas las semillas",
    "argmax of a noisy point, one jump": "argmax de un punto con ruido, un salto",
    "a draw instead, one jump": "un sorteo en su lugar, un salto",
    "argmax, 32 jumps": "argmax, 32 saltos",
    "a draw, 32 jumps": "un sorteo, 32 saltos",
    "the dial kappa": "el dial kappa",
    "standard errors": "errores típicos",
    "percent": "por ciento",
    "W2 over that of exact draws": "W2 entre la de sorteos exactos",
    "error of the weights": "error de los pesos",
    "error of log Z": "error de log Z",
    "gradient calls": "llamadas al gradiente",
    "In brackets: the worst of the seeds. A call is a batch of gradients.": (
        "Entre paréntesis: la peor de las semillas. Una llamada es un lote de gradientes."
    ),
    "weights, in standard errors": "pesos, en errores típicos",
    "log Z, in standard errors": "log Z, en errores típicos",
    "radii, total variation": "radios, variación total",
    "standard deviation of v": "desviación típica de v",
    "told apart by a forest": "distinguidos por un bosque",
    "told apart by a neighbour": "distinguidos por un vecino",
    "figure": "cifra",
    "found": "hallado",
    "asked": "pedido",
    "seeds that hold": "semillas que cumplen",
    "gradients": "gradientes",
    "density, chains of NUTS": "densidad, cadenas de NUTS",
    "dimensions, numbers seen": "dimensiones, números vistos",
    "distance of exact draws": "distancia de muestras exactas",
    "tds, error of log p(y)": "tds, error de log p(y)",
    "denoiser, method": "denoiser, método",
    "error of log p(y)": "error de log p(y)",
    "exact": "exacto",
    "trees": "árboles",
    "nothing seen": "nada visto",
    "Fit, CPU-s:": "Ajuste, s de CPU:",
    "our error of the weights": "nuestro error de los pesos",
    "theirs": "el suyo",
    "no more gradients than theirs": "no más gradientes que ellas",
    "one mode, chains of NUTS": "un modo, cadenas de NUTS",
    "our seconds": "nuestros segundos",
    "two modes d=64 of unequal width": "two modes d=64 de distinta anchura",
    "fit, CPU-s": "ajuste, s de CPU",
    "fit, MiB": "ajuste, MiB",
    "fit, s on two threads": "ajuste, s con dos hilos",
    "rows per second": "filas por segundo",
    "In brackets: what real rows get that the model has not seen, and training rows drawn again.": (
        "Entre paréntesis: lo que obtienen filas reales que el modelo no ha visto, y filas de entrenamiento sacadas "
        "otra vez."
    ),
    "conditions": "condiciones",
    "rows that break them": "filas que las incumplen",
    "rows of 20 columns": "filas de 20 columnas",
    "as many rows drawn, CPU-s": "otras tantas filas generadas, s de CPU",
    "drawn, MiB": "generadas, MiB",
    "DCR ratio": "razón DCR",
    "CPU-s": "s de CPU",
    "images; the same network in 128 steps": "imágenes; la misma red en 128 pasos",
    "real training images": "imágenes reales de entrenamiento",
    "no guidance": "sin guía",
    "classifier": "clasificador",
    "interval": "intervalo",
    "wide interval": "intervalo ancho",
    "middle interval": "intervalo medio",
    "autoguidance": "autoguía",
    "way, scale": "modo, escala",
    "of the class asked for": "de la clase pedida",
    "Fréchet, class by class": "Fréchet, clase a clase",
    "time over unguided": "tiempo entre el de sin guía",
    "samples per row": "muestras por fila",
    "steps": "pasos",
    "Of each way, the scale with the least Fréchet distance and the one with most of the class asked for.": (
        "De cada modo, la escala de menor distancia de Fréchet y la de más muestras de la clase pedida."
    ),
    "Accuracy .985 with .85 of the unguided recall:": "Acierto de 0.985 con 0.85 de la exhaustividad sin guía:",
    "captions, scale": "textos, escala",
    "seen": "vistos",
    "new": "nuevos",
    "class": "clase",
    "count": "número",
    "place": "lugar",
    "size": "tamaño",
    "mean of the four": "media de los cuatro",
    "all four": "los cuatro",
    "real images": "imágenes reales",
    "real images, captions of others": "imágenes reales, textos de otras",
    "training steps": "pasos de entrenamiento",
    "In brackets: intervals of 95 %.": "Entre paréntesis: intervalos del 95 %.",
    "enlarged from 7 x 7": "ampliadas de 7 x 7",
    "bicubic": "bicúbica",
    "regression": "regresión",
    "truth": "verdad",
    "direct": "directo",
    "cascade at": "cascada con",
    "PSNR of one, dB": "PSNR de una, dB",
    "PSNR of the mean, dB": "PSNR de la media, dB",
    "PSNR shrunk again, dB": "PSNR reducida otra vez, dB",
    "images from nothing": "imágenes de la nada",
    "decibels of the mean below regression": "decibelios de la media bajo la regresión",
    "frechet of bicubic over its own": "Fréchet de la bicúbica entre el suyo",
    "frechet of regression over its own": "Fréchet de la regresión entre el suyo",
    "images, PSNR of the first": "imágenes, PSNR de las primeras",
    "the mean is of": "la media es de",
    "draws. Training steps:": "sorteos. Pasos de entrenamiento:",
    "base": "base",
    "middle": "media",
    "last": "última",
    "coverage": "cobertura",
    "draws": "muestras",
    "of": "de",
    "table, holes": "tabla, huecos",
    "coverage, MICE": "cobertura, MICE",
    "mean of the column": "media de la columna",
    "fill, CPU-s": "relleno, s de CPU",
    "Caminito no worse": "Caminito no es peor en",
    "Coverage between 0.93 and 0.97:": "Cobertura entre 0.93 y 0.97:",
    HOLES: (
        "Cada método aprende de filas completas y rellena otras, con el 20 % o el 50 % de las celdas ocultas al azar, "
        "o la mitad de las columnas en bloque. La cobertura es la de intervalos del 95 %; después, la energía de todo "
        "lo oculto en una fila, en desviaciones típicas: cuanto menos, mejor. MissForest y la media dan una sola "
        "respuesta."
    ),
    "ForestDiffusion, noise levels and copies of each row:": "ForestDiffusion, niveles de ruido y copias de cada fila:",
    "(its defaults: 50, 100).": "(por defecto: 50, 100).",
}


def say(text: str, language: str) -> str:
    """The text in a language; English is the key."""
    return SPANISH.get(text, text) if language == "es" else text


def number(value: Any) -> str:
    """Three digits that matter, or a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return DASH
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if 0 < size < 1e-3:
        return f"{value:.1e}"
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 or size == 0 else 4
    return f"{value:.{places}f}"


def measured(value: Any) -> str:
    """`mean ± sd` of what `mean_sd` wrote, or a plain number."""
    if not isinstance(value, Mapping):
        return number(value)
    mean, sd = value.get("mean"), value.get("sd")
    text = number(mean)
    if text == DASH or not isinstance(sd, int | float) or sd == 0:
        return text
    places = len(text.partition(".")[2])
    return f"{text} ± {sd:.{places}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def origin(facts: Mapping[str, Any], language: str) -> str:
    """When, where and with what it was measured."""
    machine, versions = facts.get("machine", {}), facts.get("versions", {})
    cores = "core" if machine.get("cores") == 1 else "cores"
    gpu = machine.get("gpu") or say("without a GPU", language)
    versions = versions or ({"torch": facts["torch"]} if "torch" in facts else {})
    with_ = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{say('Measured on', language)} {facts.get('date', DASH)}, {machine.get('processor', DASH)}, "
        f"{machine.get('cores', DASH)} {say(cores, language)}, {gpu}, Python {machine.get('python', DASH)}, {with_}, "
        f"{say('commit', language)} `{facts.get('commit', DASH)}`."
    )


def digits(facts: Mapping[str, Any], language: str) -> list[str]:
    """digits.json."""
    names = {
        "caminito": "**caminito**",
        "train half": "real images (train half)",
        "mixture of 30": "Gaussian mixture, 30 components",
        "kernel density": "kernel density",
    }
    columns = {
        "c2st_leave_one_out": "C2ST, leave-one-out",
        "c2st_two_halves": "C2ST, two halves",
        "precision": "precision",
        "recall": "recall",
        "copy_ratio": "copy ratio",
    }
    scores = facts.get("scores", {})
    rows = [
        [say(names.get(name, name), language), *(measured(found.get(key)) for key in columns)]
        for name, found in scores.items()
    ]
    told = (
        f"{say('898 digits train, 898 judge.', language)} {facts.get('seeds', DASH)} {say('seeds', language)}; "
        f"{say('± is the standard deviation over them.', language)} {say('Training took', language)} "
        f"{measured(facts.get('train_seconds'))} {say('s, sampling', language)} "
        f"{measured(facts.get('sample_seconds'))} {say('s.', language)}"
    )
    return [*table([say(h, language) for h in ("source of samples", *columns.values())], rows), "", told]


def toys(facts: Mapping[str, Any], language: str) -> list[str]:
    """toys.json."""
    names = {"checkerboard": "checkerboard", "swiss_roll": "swiss roll", "eight_gaussians": "eight Gaussians"}
    columns = {
        "sliced_w2": "sliced W2",
        "floor": "exact against exact",
        "ratio": "ratio",
        "train_seconds": "training, s",
        "sample_seconds": "sampling, s",
    }
    rows = [
        [say(names.get(name, name), language), *(measured(found.get(key)) for key in columns)]
        for name, found in facts.get("laws", {}).items()
    ]
    told = (
        f"{number(facts.get('n'))} {say('points per set', language)}. {facts.get('seeds', DASH)} "
        f"{say('seeds', language)}; {say('± is the standard deviation over them.', language)}"
    )
    return [*table([say(h, language) for h in ("law", *columns.values())], rows), "", told]


def images_vs_diffusers(facts: Mapping[str, Any], language: str) -> list[str]:
    """images_vs_diffusers.json: quality at equal time, then speed at equal size."""
    return _quality(facts, language) + _throughput(facts.get("throughput", {}), language)


def _quality(facts: Mapping[str, Any], language: str) -> list[str]:
    columns = {
        "frechet": "Fréchet",
        "class_chi_square_9_df": "class chi-square, 9 df",
        "precision": "precision",
        "recall": "recall",
        "copy_ratio_over_floor": "copy gauge over floor",
        "steps": "training steps of 64",
        "sample_seconds": "sampling, s",
    }
    quality = facts.get("quality", {})
    if not quality:
        return []
    rows = []
    for name, found in quality.items():
        size = found.get("parameters")
        shown = number(size / 1e6) if isinstance(size, int | float) else DASH
        title = f"**{name}**" if name == "caminito" else say(name, language)
        rows.append([title, shown, *(measured(found.get(key)) for key in columns)])
    head = [say(h, language) for h in ("source of samples", "parameters, M", *columns.values())]
    told = f"{number(facts.get('minutes'))} {say('minutes of training each.', language)}"
    if "judge_accuracy" in facts:
        told += f" MNIST, {say('accuracy of the judging classifier', language)} {number(facts['judge_accuracy'])}."
    if "frechet_ratio_to_best_peer" in facts:
        told += (
            f" {say('Fréchet distance over that of the better peer', language)}: "
            f"{number(facts['frechet_ratio_to_best_peer'])}."
        )
    return [*table(head, rows), "", told]


def _throughput(throughput: Mapping[str, Any], language: str) -> list[str]:
    rows = []
    for name, found in throughput.items():
        sizes = found.get("parameters", {})
        size = f"{name} {_millions(sizes.get('peer'))} / caminito {_millions(sizes.get('caminito'))}"
        for word in ("float32", "bfloat16"):
            part = found.get(word, {})
            for key, work in (("train", "training"), ("evaluate", "evaluation")):
                pair = [part.get(who, {}).get(key) for who in ("peer", "caminito")]
                ratio = part.get(f"ratio_{key}")
                rows.append([size, f"{say(work, language)}, {word}", *map(number, pair), number(ratio)])
    if not rows:
        return []
    title = say("images per second, at equal parameter count", language)
    return ["", *table([title, say("work", language), "diffusers", "caminito", say("ratio", language)], rows)]


def _millions(size: Any) -> str:
    return f"{number(size / 1e6)} M" if isinstance(size, int | float) else DASH


def gpu_unet(facts: Mapping[str, Any], language: str) -> list[str]:
    """gpu/gpu_unet.json."""
    columns = {
        "training_images_per_second": "training, images/s",
        "training_share_of_peak": "share of the matrix rate",
        "images_x_evaluations_per_second": "sampling, images x evaluations/s",
        "evaluation_share_of_peak": "share of the matrix rate",
    }
    rows = [
        [say(name, language), *(measured(found.get(key)) for key in columns)]
        for name, found in facts.get("rates", {}).items()
    ]
    told = (
        f"{_millions(facts.get('parameters'))} {say('parameters, bfloat16, batches of', language)} "
        f"{facts.get('batch', DASH)}."
    )
    if end := facts.get("end_to_end"):
        told += (
            f" {number(end.get('samples'))} {say('samples in', language)} {number(end.get('seconds'))} s, "
            f"{end.get('evaluations', DASH)} {say('evaluations each.', language)}"
        )
    return [*table([say(h, language) for h in ("way", *columns.values())], rows), "", told]


def orders(facts: Mapping[str, Any], language: str) -> list[str]:
    """orders.json: one method in several packages."""
    ours, peers = facts.get("orders", {}).get("VE", {}), facts.get("peers", {})
    packages = ["caminito", *peers]
    rows = []
    for title, names in facts.get("same_method", {}).items():
        found = {"caminito": ours.get(names.get("caminito"), {})}
        found |= {peer: peers[peer].get("methods", {}).get(names.get(peer), {}) for peer in peers}
        theory = facts.get("solvers", {}).get(names.get("caminito"), {}).get("theory", DASH)
        last = [number((found[name].get("errors") or [None])[-1]) for name in packages]
        rows.append([title, str(theory), *(number(found[name].get("fitted")) for name in packages), *last])
    head = [say(h, language) for h in ("method", "theory")]
    head += [f"{say('order', language)}, {name}" for name in packages]
    head += [f"{say('error', language)}, {name}" for name in packages]
    versions = ", ".join(f"{name} {peer.get('version', DASH)}" for name, peer in peers.items())
    told = f"{say('Order fitted over 64 to 512 denoiser calls; error at 512.', language)} {versions}."
    return [*table(head, rows), "", told]


def few_steps(facts: Mapping[str, Any], language: str) -> list[str]:
    """few_steps_*.json: Frechet distance by evaluations."""
    lines: list[str] = []
    for found in facts.get("data", {}).values():
        rows = found.get("rows", {})
        counts = sorted({int(n) for row in rows.values() for n in row})
        body = []
        for name, row in rows.items():
            values = [number(row.get(str(n), {}).get("frechet")) for n in counts]
            ours = not name.startswith("diffusers")
            body.append([f"caminito {name}" if ours else name, *values])
        best = {n: min(rows[name][str(n)]["frechet"] for name in rows if str(n) in rows[name]) for n in counts}
        for row in body:
            row[1:] = [f"**{v}**" if v == number(best[n]) else v for v, n in zip(row[1:], counts)]
        lines += table([say("evaluations", language), *map(str, counts)], body)
        lines += [
            "",
            f"{found.get('samples', DASH)} {say('images; the same network in 128 steps', language)}: "
            f"{number(found.get('128 steps'))}; {say('real training images', language)}: "
            f"{number(found.get('real training images (floor)'))}.",
        ]
    return lines


def ddpm(facts: Mapping[str, Any], language: str) -> list[str]:
    """ddpm_*.json: bits per dimension and Frechet distance, by loss, variance and steps."""
    losses = facts.get("losses", {})
    rows_of = [(loss, kind, row) for loss, found in losses.items() for kind, row in found.get("variances", {}).items()]
    counts = sorted({int(n) for *_, row in rows_of for n in row})
    best = {(n, key): min(row[str(n)][key] for *_, row in rows_of) for n in counts for key in ("bits", "frechet")}
    body = []
    for loss, kind, row in rows_of:
        cells = []
        for n in counts:
            pair = [(row[str(n)][key], best[n, key]) for key in ("bits", "frechet")]
            cells.append(" / ".join(f"**{number(v)}**" if v == least else number(v) for v, least in pair))
        body.append([f"{loss}, {say(kind, language)}", *cells])
    told = (
        f"{facts.get('samples', DASH)} {say('samples, and', language)} {facts.get('bits_images', DASH)} "
        f"{say('test images for the bits; Fréchet distance of real training images', language)}: "
        f"{number(facts.get('real training images (floor)'))}."
    )
    return [*table([say("loss, variance", language), *map(str, counts)], body), "", told]


def unet_ablation(facts: Mapping[str, Any], language: str) -> list[str]:
    """unet_ablation.json."""
    columns = {"loss_over_full": "loss over that of the full one", "frechet": "Fréchet", "recall": "recall"}
    rows = [
        [say(name, language), _millions(found.get("parameters")), *(measured(found.get(key)) for key in columns)]
        for name, found in facts.get("networks", {}).items()
    ]
    head = [say(h, language) for h in ("network", "parameters, M", *columns.values())]
    steps = facts.get("budget", {}).get("max_steps", DASH)
    told = f"{facts.get('seeds', DASH)} {say('seeds', language)}, {steps} {say('steps each', language)}."
    return [*table(head, rows), "", told]


def trilemma(facts: Mapping[str, Any], language: str) -> list[str]:
    """trilemma.json."""
    columns = {
        "frechet": "Fréchet",
        "precision": "precision",
        "recall": "recall",
        "samples_per_second": "samples per second",
        "training_steps": "training steps of 64",
    }
    rows = [
        [say(name, language), *(measured(found.get(key)) for key in columns)]
        for name, found in facts.get("models", {}).items()
    ]
    floor = facts.get("real training images (floor)", {})
    rows.append([say("real training images", language), *(measured(floor.get(key)) for key in columns)])
    told = f"{number(facts.get('minutes'))} {say('minutes of training each.', language)}"
    return [*table([say(h, language) for h in ("source of samples", *columns.values())], rows), "", told]


def tables_forest27(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_forest27.json: means over the tables beside what the paper's results file says of others."""
    columns = ("W_train", "W_test", "cov_train", "cov_test", "R2", "F1", "P_bias", "cov_rate")
    found, means = facts.get("tables", {}), facts.get("means", {})
    shown = [name for name in columns if name in means]
    total = facts.get("cpu_seconds_of_all")
    rows = [["**Caminito**", *(number(means[name]) for name in shown), number(total)]]
    for name, figures in facts.get("published", {}).items():
        seconds = figures.get("seconds")
        cells = [number(figures.get(key)) for key in shown]
        rows.append([say(name, language), *cells, DASH if seconds is None else number(27 * seconds)])
    outside = facts.get("not_private", [])
    seeds = f"R2, F1: {facts.get('seeds', DASH)} {say('seeds of each model that is taught.', language)}"
    models = seeds if facts.get("models", True) else say("R2 and F1: not measured.", language)
    told = [
        f"{len(found)} {say('tables', language)}, {facts.get('splits', DASH)} x {facts.get('made', DASH)}.",
        f"{say('Inside the gate of privacy:', language)} {len(found) - len(outside)}; "
        f"{say('outside:', language)} {', '.join(outside) or DASH}.",
        f"{say('Most memory', language)}: {number(facts.get('most_mib'))} MiB; {say('largest model', language)}: "
        f"{number((facts.get('most_bytes') or float('nan')) / 1e6)} MB.",
        models,
    ]
    head = [say("method", language), *shown, say("seconds for all", language)]
    return [*table(head, rows), "", " ".join(told)]


def tables_large(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_large.json."""
    columns = ("shape", "trend", "c2st", "utility")
    lines = []
    for name, found in facts.get("tables", {}).items():
        scores = [found.get(key, {}) for key in columns]
        again = [found.get("rows_again", {}).get(key) for key in columns]
        cells = [
            f"{number(score.get('value'))} ({number(score.get('floor'))}{'' if rows is None else ', ' + number(rows)})"
            for score, rows in zip(scores, again)
        ]
        lines.append([name, *cells, number(found.get("fit_cpu")), number(found.get("rows_per_second"))])
    words = ("table", "Shape, %", "Trend, %", "C2ST", "utility", "fit, CPU-s", "rows per second")
    told = "In brackets: what real rows get that the model has not seen, and training rows drawn again."
    return [*table([say(word, language) for word in words], lines), "", say(told, language)]


def tables_impute(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_impute.json."""
    means = facts.get("means", {})
    columns = ("MinMAE", "AvgMAE", "W_train", "W_test")
    rows = [
        [say("Caminito, draws", language), *(number(means.get(key)) for key in columns), number(means["cpu_seconds"])],
        [
            say("Caminito, centres", language),
            *(number(means.get(f"centre_{key}")) for key in columns),
            number(means.get("centre_cpu_seconds")),
        ],
    ]
    for name, figures in facts.get("published", {}).items():
        rows.append([name, *(number(figures.get(key)) for key in columns), number(figures.get("seconds"))])
    head = [say("method", language), *columns, say("seconds per table", language)]
    return [*table(head, rows), "", f"{len(facts.get('tables', {}))} {say('tables', language)}."]


def tables_conditions(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_conditions.json."""
    rows = [
        [
            name,
            number(found.get("conditions")),
            number(found.get("rows_that_break_them")),
            f"{number(found['c2st']['value'])} ({number(found['c2st']['floor'])})",
            number(found.get("rows_per_second_of_10000")),
        ]
        for name, found in facts.get("tables", {}).items()
    ]
    words = ("table", "conditions", "rows that break them", "C2ST", "rows per second")
    return table([say(word, language) for word in words], rows)


def tables_million(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_million.json."""
    keys = ("fit_wall", "fit_cpu", "fit_mib", "draw_cpu", "draw_mib")
    rows = [
        [number(int(count)), *(number(found.get(key)) for key in keys)]
        for count, found in facts.get("rows", {}).items()
    ]
    words = (
        "rows of 20 columns",
        "fit, s on two threads",
        "fit, CPU-s",
        "fit, MiB",
        "as many rows drawn, CPU-s",
        "drawn, MiB",
    )
    return table([say(word, language) for word in words], rows)


def tables_side(facts: Mapping[str, Any], language: str) -> list[str]:
    """tables_side.json: ours and ForestDiffusion in one run."""
    rows = []
    for name, found in facts.get("tables", {}).items():
        for method in ("caminito", "ForestDiffusion"):
            figures = found.get(method, {})
            keys = ("W_train", "W_test", "cov_train", "cov_test", "dcr_ratio", "cpu_seconds")
            memory = figures.get("memory", {}).get("fit_mib")
            use = figures.get("R2", figures.get("F1"))
            rows.append([f"{name}, {method}", *(number(figures.get(key)) for key in keys), number(use), number(memory)])
    words = ("table", "W_train", "W_test", "cov_train", "cov_test", "DCR ratio", "CPU-s", "R2, F1", "MiB")
    ratios = {
        key: [found.get(key) for found in facts.get("tables", {}).values()] for key in ("time_ratio", "memory_ratio")
    }
    told = [
        f"{facts.get('splits', DASH)} x {facts.get('made', DASH)}.",
        f"{say('Time over ours:', language)} {', '.join(map(number, ratios['time_ratio']))};",
        f"{say('memory:', language)} {', '.join(map(number, ratios['memory_ratio']))}.",
        say("DCR ratio: distance to training rows over that of real rows; .8 to 1.2 is asked for privacy.", language),
    ]
    return [*table([say(word, language) for word in words], rows), "", " ".join(told)]


def density_law(facts: Mapping[str, Any], language: str) -> list[str]:
    """density_law.json: the worst of all seeds, by what is drawn."""
    kinds = {
        "argmax of a noisy point, one jump": ("one jump", "map", "standard errors"),
        "a draw instead, one jump": ("one jump", "sample", "standard errors"),
        "argmax, 32 jumps": ("32 jumps", "map", "standard errors"),
        "a draw, 32 jumps": ("32 jumps", "sample", "standard errors"),
        "the dial kappa": ("kappa", "", "percent"),
    }
    rows = []
    for words, (part, begins, unit) in kinds.items():
        worst = [row[unit]["worst"] for name, row in facts.get(part, {}).items() if name.startswith(begins)]
        rows.append([say(words, language), str(len(worst)), f"{number(max(worst))} {say(unit, language)}"])
    return table([say(word, language) for word in ("what", "laws", "farthest variance of any seed")], rows)


def density_multimodal(facts: Mapping[str, Any], language: str) -> list[str]:
    """density_multimodal.json: medians, and the worst of the seeds in brackets."""
    keys = ("w2", "weight_error", "log_z_error", "calls", "seconds")
    rows = [
        [say(name, language), *(_spread(found.get(key)) for key in keys)]
        for name, found in facts.get("targets", {}).items()
    ]
    words = ("density", "W2 over that of exact draws", "error of the weights", "error of log Z", "gradient calls", "s")
    told = "In brackets: the worst of the seeds. A call is a batch of gradients."
    return [*table([say(word, language) for word in words], rows), "", say(told, language)]


def density_shapes(facts: Mapping[str, Any], language: str) -> list[str]:
    """density_shapes.json: each shape by the figure that was asked of it."""
    asked = {
        "weight_errors_from_laplace": "weights, in standard errors",
        "log_z_errors_from_laplace": "log Z, in standard errors",
        "radius_tv": "radii, total variation",
        "sd_v": "standard deviation of v",
        "c2st_forest": "told apart by a forest",
        "c2st_neighbour": "told apart by a neighbour",
    }
    rows = []
    for name, found in facts.get("targets", {}).items():
        for key in (key for key in asked if "asked" in found.get(key, {})):
            limit = found[key]["asked"]
            shown = " .. ".join(map(number, limit)) if isinstance(limit, list) else f"<= {number(limit)}"
            held = found[key]["held"].replace(" of ", "/")
            cells = [say(asked[key], language), _spread(found[key]), shown, held]
            rows.append([name, *cells, number(found["evaluations"]["median"]), number(found["seconds"]["median"])])
    words = ("density", "figure", "found", "asked", "seeds that hold", "gradients", "s")
    return table([say(word, language) for word in words], rows)


def posterior_gmm(facts: Mapping[str, Any], language: str) -> list[str]:
    """posterior_gmm.json: distances over their floors, a row for each cell."""
    cells = facts.get("cells", {})
    names = [name for name in next(iter(cells.values()), {}) if name != "floor"]
    rows = []
    for place, found in cells.items():
        errors = found.get("tds", {}).get("evidence_error", {})
        rows.append(
            [
                place,
                number(found.get("floor")),
                *(number(found[name]["ratio"]["median"]) for name in names),
                f"{number(errors.get('median'))} ({number(errors.get('worst'))})",
            ]
        )
    words = (
        say("dimensions, numbers seen", language),
        say("distance of exact draws", language),
        *names,
        say("tds, error of log p(y)", language),
    )
    return table(words, rows)


def posterior_learned(facts: Mapping[str, Any], language: str) -> list[str]:
    """posterior_learned.json: distances over their floors, a row for each method of each denoiser."""
    cells, kinds = facts.get("cells", {}), ("exact", "network", "trees")
    first: Mapping[str, Any] = next(iter(cells.values()), {})
    rows = []
    for kind, name in ((one, method) for one in kinds for method in first.get(one, {})):
        found = [cell[kind][name] for cell in cells.values()]
        errors = [each["evidence_error"] for each in found if "evidence_error" in each]
        rows.append(
            [
                f"{say(kind, language)}, {say('nothing seen', language) if name == 'prior' else name}",
                *(number(each["ratio"]["median"]) for each in found),
                _spread(_worst(errors)),
                number(median(each["seconds"] for each in found)),
            ]
        )
    words = (say("denoiser, method", language), *cells, say("error of log p(y)", language), "s")
    fits = {kind: [cell[kind]["prior"]["fit_seconds"] for cell in cells.values()] for kind in kinds[1:]}
    took = "; ".join(f"{say(kind, language)}, {number(median(each))}" for kind, each in fits.items() if each)
    told = f"{say('Fit, CPU-s:', language)} {took}. {facts.get('seeds', DASH)} {say('seeds', language)}."
    return [*table(words, rows), "", told]


def _worst(errors: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """The largest median of some cells, and the worst of their seeds."""
    return {key: max(each[key] for each in errors) for key in ("median", "worst")} if errors else None


def posterior_tables(facts: Mapping[str, Any], language: str) -> list[str]:
    """posterior_tables.json: a row for each cell of the grid, then one for each method."""
    cells, draws = facts.get("cells", {}), facts.get("draws", {})
    names = {name: say("mean of the column" if name == "mean" else name, language) for name in draws}
    rows = []
    for place, found in cells.items():
        covered = [number(found.get(name, {}).get("coverage")) for name in ("caminito", "MICE")]
        rows.append([place, *covered, *(number(found.get(name, {}).get("energy")) for name in names)])
    words = ("table, holes", "coverage", "coverage, MICE")
    first = table([*(say(word, language) for word in words), *names.values()], rows)
    summary = facts.get("summary", {})
    rows = []
    for name, shown in names.items():
        seconds = [[found[name][key] for found in cells.values() if name in found] for key in ("fit", "fill")]
        worse = summary.get("no worse than", {}).get(name, {}).get("cells")
        cell = DASH if worse is None else f"{worse} {say('of', language)} {summary['cells']}"
        rows.append([shown, str(draws[name]), *(number(sum(each) / max(len(each), 1)) for each in seconds), cell])
    words = ("method", "draws", "fit, CPU-s", "fill, CPU-s", "Caminito no worse")
    second = table([say(word, language) for word in words], rows)
    peer = facts.get("ForestDiffusion", {})
    told = (
        f"{say(HOLES, language)} {say('ForestDiffusion, noise levels and copies of each row:', language)} "
        f"{peer.get('n_t', DASH)}, {peer.get('duplicate_K', DASH)} {say('(its defaults: 50, 100).', language)} "
        f"{say('Coverage between 0.93 and 0.97:', language)} {summary.get('covered', DASH)} "
        f"{say('of', language)} {summary.get('cells', DASH)}. {facts.get('seeds', DASH)} {say('seeds', language)}."
    )
    return [*first, "", *second, "", told]


def posterior_images(facts: Mapping[str, Any], language: str) -> list[str]:
    """posterior_images_*.json: a row for each task and way of filling."""
    rows = [
        [
            f"{say(task, language)}, {say(name, language)}",
            *(number(found.get(key)) for key in ("psnr", "psnr of one", "ssim", "frechet", "coverage", "seconds")),
        ]
        for task, ways in facts.get("tasks", {}).items()
        for name, found in ways.items()
    ]
    words = (
        "task, method",
        "PSNR of the mean",
        "PSNR of one draw",
        "SSIM",
        "Fréchet",
        "coverage of 90 %",
        "s per draw",
    )
    trained = ", ".join(f"{say(name, language)} {count}" for name, count in facts.get("training_steps", {}).items())
    told = (
        f"{facts.get('images', DASH)} {say('images,', language)} {facts.get('draws', DASH)} "
        f"{say('draws of each; Fréchet distance of the images themselves', language)} "
        f"{number(facts.get('truth (floor)', {}).get('frechet'))}; "
        f"{say('steps of training:', language)} {trained or DASH}."
    )
    return [*table([say(word, language) for word in words], rows), "", told]


def density_nuts(facts: Mapping[str, Any], language: str) -> list[str]:
    """density_nuts.json: weights on several modes, time on one."""
    rows = []
    for name, found in facts.get("multimodal", {}).items():
        for kind, theirs in found["nuts"].items():
            cells = [_spread(found["ours"]["weight_error"]), _spread(theirs["weight_error"])]
            rows.append([f"{name}, {kind}", *cells, _spread(theirs["ours over theirs"]), theirs["no more gradients"]])
    words = ("density, chains of NUTS", "our error of the weights", "theirs", "ratio", "no more gradients than theirs")
    first = table([say(word, language) for word in words], rows)
    rows = [
        [
            f"{name}, {kind}",
            *(number(side["seconds"]["median"]) for side in (found["ours"], theirs)),
            _spread(theirs["our time over theirs"]),
        ]
        for name, found in facts.get("unimodal", {}).items()
        for kind, theirs in found.items()
        if kind != "ours"
    ]
    if not rows:
        return first
    words = ("one mode, chains of NUTS", "our seconds", "theirs", "ratio")
    return [*first, "", *table([say(word, language) for word in words], rows)]


def _spread(found: Mapping[str, Any] | None) -> str:
    """Median and worst of the seeds."""
    return f"{number(found['median'])} ({number(found['worst'])})" if found else DASH


def conditional(facts: Mapping[str, Any], language: str) -> list[str]:
    """conditional_*.json: two scales of each way, by Frechet distance and by accuracy."""
    columns = {
        "accuracy": "of the class asked for",
        "frechet": "Fréchet",
        "frechet_of_classes": "Fréchet, class by class",
        "precision": "precision",
        "recall": "recall",
    }
    names = {"auto": "autoguidance", "middle": "middle interval", "wide": "wide interval"}
    costs, rows = facts.get("seconds over unguided", {}), []

    def row(title: str, found: Mapping[str, Any], cost: Any = None) -> None:
        rows.append([title, *(number(found.get(key)) for key in columns), number(cost)])

    row(say("no guidance", language), facts.get("none", {}), costs.get("none"))
    for way, scales in facts.get("ways", {}).items():
        nearest = min(scales, key=lambda scale: scales[scale]["frechet"])
        surest = max(scales, key=lambda scale: scales[scale]["accuracy"])
        for scale in sorted({nearest, surest}, key=float):
            row(f"{say(names.get(way, way), language)}, {scale}", scales[scale], costs.get(way))
    row(say("real training images", language), facts.get("real training images (floor)", {}))
    told = [
        f"{facts.get('samples', DASH)} {say('samples per row', language)}, {facts.get('steps', DASH)} "
        f"{say('steps', language)};",
        f"{say('accuracy of the judging classifier', language)} {number(facts.get('judge_accuracy'))}.",
        say(
            "Of each way, the scale with the least Fréchet distance and the one with most of the class asked for.",
            language,
        ),
    ]
    held = facts.get("accuracy .985 at .85 of the unguided recall")
    if held is not None:
        told.append(
            f"{say('Accuracy .985 with .85 of the unguided recall:', language)} "
            f"{', '.join(_way_said(each, names, language) for each in held) or DASH}."
        )
    head = [say(word, language) for word in ("way, scale", *columns.values(), "time over unguided")]
    return [*table(head, rows), "", " ".join(told)]


def _way_said(point: str, names: Mapping[str, str], language: str) -> str:
    way, _, scale = point.partition(" ")
    return f"{say(names.get(way, way), language)} {scale}"


def text(facts: Mapping[str, Any], language: str) -> list[str]:
    """text.json: agreement with the caption, seen combinations first."""
    single, whole = ("class", "count", "place", "size"), {"mean": "mean of the four", "joint": "all four"}
    rows = []

    def row(title: str, found: Mapping[str, Any]) -> None:
        shares = [number(found.get(key, {}).get("share")) for key in single]
        wide = [found.get(key, {}) for key in whole]
        spans = [f"{number(f.get('share'))} ({number(f.get('low'))} .. {number(f.get('high'))})" for f in wide]
        rows.append([title, *shares, *spans])

    for part in ("seen", "new"):
        for scale, found in facts.get("scales", {}).items():
            row(f"{say(part, language)}, {scale}", found.get(part, {}))
        for key, words in (
            ("real images (floor)", "real images"),
            ("real images, captions of others", "real images, captions of others"),
        ):
            row(f"{say(part, language)}, {say(words, language)}", facts.get(key, {}).get(part, {}))
    told = (
        f"{facts.get('samples', DASH)} {say('samples per row', language)}, {facts.get('steps', DASH)} "
        f"{say('steps', language)}; {number(facts.get('training', {}).get('steps'))} "
        f"{say('training steps', language)}. {say('In brackets: intervals of 95 %.', language)}"
    )
    head = [say(word, language) for word in ("captions, scale", *single, *whole.values())]
    return [*table(head, rows), "", told]


def cascade(facts: Mapping[str, Any], language: str) -> list[str]:
    """cascade.json: images enlarged, then images from nothing."""
    rows = []
    for name, found in facts.get("enlarged", {}).items():
        one, mean = found.get("first", {}), found.get("mean", {})
        cells = (one.get("psnr"), mean.get("psnr"), one.get("psnr_low"), found.get("frechet"))
        rows.append([_stage_said(name, language), *map(number, cells)])
    words = ("enlarged from 7 x 7", "PSNR of one, dB", "PSNR of the mean, dB", "PSNR shrunk again, dB", "Fréchet")
    first = table([say(word, language) for word in words], rows)
    keys = ("frechet", "precision", "recall")
    rows = [
        [_stage_said(name, language), *(number(found.get(key)) for key in keys)]
        for name, found in facts.get("from nothing", {}).items()
    ]
    words = ("images from nothing", "Fréchet", "precision", "recall")
    training = facts.get("training", {})
    counts = {name: found["mean"]["draws"] for name, found in facts.get("enlarged", {}).items()}
    draws = f"{max(counts.values(), default=DASH)} ({say('regression', language)} {counts.get('regression', DASH)})"
    steps = ", ".join(f"{say(name, language)} {number(each.get('steps'))}" for name, each in training.items())
    told = (
        f"{facts.get('samples', DASH)} {say('images, PSNR of the first', language)} {facts.get('means', DASH)}; "
        f"{say('the mean is of', language)} {draws} "
        f"{say('draws. Training steps:', language)} {steps}."
    )
    wanted = [
        [_stage_said(f"cascade {level}", language), _spelt(say(what, language)), each["asked"], number(each["found"])]
        for level, asked in facts.get("asked", {}).items()
        for what, each in asked.items()
    ]
    heads = ("enlarged from 7 x 7", "figure", "asked", "found")
    third = table([say(word, language) for word in heads], wanted) if wanted else []
    second = table([say(word, language) for word in words], rows)
    return [*first, "", *second, "", *third, "", told]


def _spelt(text: str) -> str:
    return text.replace("frechet", "Fréchet")


def _stage_said(name: str, language: str) -> str:
    begins = "cascade at"
    return f"{say(begins, language)}{name.removeprefix(begins)}" if name.startswith(begins) else say(name, language)


TABLES = {
    "digits": digits,
    "toys": toys,
    "images_vs_diffusers": images_vs_diffusers,
    "orders": orders,
    "few_steps_digits": few_steps,
    "few_steps_mnist": few_steps,
    "ddpm_digits": ddpm,
    "ddpm_mnist": ddpm,
    "unet_ablation": unet_ablation,
    "trilemma": trilemma,
    "conditional_mnist": conditional,
    "conditional_fashion_mnist": conditional,
    "text": text,
    "cascade": cascade,
    "tables_forest27": tables_forest27,
    "tables_side": tables_side,
    "tables_large": tables_large,
    "tables_impute": tables_impute,
    "tables_conditions": tables_conditions,
    "tables_million": tables_million,
    "density_law": density_law,
    "density_multimodal": density_multimodal,
    "density_shapes": density_shapes,
    "density_nuts": density_nuts,
    "posterior_gmm": posterior_gmm,
    "posterior_learned": posterior_learned,
    "posterior_tables": posterior_tables,
    "posterior_images_mnist": posterior_images,
    "posterior_images_fashion_mnist": posterior_images,
    "gpu_unet": gpu_unet,
}
SCRIPTS = {f"few_steps_{data}": f"few_steps.py --data {data} --name few_steps_{data}" for data in ("digits", "mnist")}
SCRIPTS |= {f"ddpm_{data}": f"ddpm.py --data {data}" for data in ("digits", "mnist")}
SCRIPTS |= {f"conditional_{data}": f"conditional.py --data {data}" for data in ("mnist", "fashion_mnist")}
SCRIPTS |= {name: f"tables.py --part {name.removeprefix('tables_')}" for name in TABLES if name.startswith("tables_")}
SCRIPTS |= {
    name: f"density.py --part {name.removeprefix('density_')}" for name in TABLES if name.startswith("density_")
}
SCRIPTS |= {f"posterior_{part}": f"posterior.py --part {part}" for part in ("gmm", "learned", "tables")}
SCRIPTS |= {f"posterior_images_{data}": f"posterior_images.py --data {data}" for data in ("mnist", "fashion_mnist")}
FOLDERS = {"gpu_unet": "gpu"}  # of results, where it is not the folder itself


def block(name: str, language: str, results: Path = RESULTS) -> str:
    """What stands between the markers of a table."""
    path = results / FOLDERS.get(name, "") / f"{name}.json"
    if not path.is_file():
        return f"\n{say('Not measured yet:', language)} `python benchmarks/{SCRIPTS.get(name, name + '.py')}`.\n\n"
    facts = json.loads(path.read_text(encoding="utf-8"))
    lines = [*TABLES[name](facts, language), "", origin(facts, language)]
    return "\n" + "\n".join(lines).strip("\n") + "\n\n"


def filled(text: str, language: str, results: Path = RESULTS) -> str:
    """A README with all its tables made anew."""
    return BLOCK.sub(lambda found: found[1] + block(found[2], language, results) + found[3], text)


def main() -> int:
    """Write the tables; with --check, only say whether they are as they should be (status 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    stale = []
    for language, path in READMES.items():
        text = path.read_text(encoding="utf-8")
        new = filled(text, language)
        if new != text:
            stale.append(path.name)
            if not check:
                path.write_text(new, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale)}" if stale else "all tables are up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
