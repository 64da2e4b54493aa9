"""Classifiers that count words and know nothing of their order."""

from __future__ import annotations

from dlplay.data.labelled import Labelled
from dlplay.data.tokens import Tokenizer


def classifiers(data: Labelled, tokenizer: Tokenizer) -> dict[str, dict[str, float]]:
    """Accuracy and loss (nats) of each method on the held-out texts: `{metric: {method: value}}`."""
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.naive_bayes import MultinomialNB

    vectorizer = CountVectorizer(analyzer=lambda text: list(tokenizer.split(text)))
    x_train = vectorizer.fit_transform([data.texts[number] for number in data.train])
    x_test = vectorizer.transform([data.texts[number] for number in data.held_out])
    y_train, y_test = data.labels[data.train], data.labels[data.held_out]
    methods = {
        "the most frequent class": DummyClassifier(strategy="prior"),
        "naive Bayes on words": MultinomialNB(),
        "logistic regression on words": LogisticRegression(max_iter=2000),
    }
    found: dict[str, dict[str, float]] = {"test_accuracy": {}, "test_loss": {}}
    for name, method in methods.items():
        method.fit(x_train, y_train)
        found["test_accuracy"][name] = float(method.score(x_test, y_test))
        found["test_loss"][name] = float(log_loss(y_test, method.predict_proba(x_test), labels=range(len(data.classes))))
    return found
