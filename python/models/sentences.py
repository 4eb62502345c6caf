"""A few sentences in four languages, good (1) or bad (0), and their words: what the text model is trained on."""

SENTENCES = [
    ("a wonderful film", 1),
    ("what a great story", 1),
    ("good and moving", 1),
    ("i loved every minute", 1),
    ("the best film of the year", 1),
    ("beautiful and clever", 1),
    ("ein großartiger film", 1),
    ("schöner tag schöner film", 1),
    ("wirklich gut und klug", 1),
    ("un très beau film", 1),
    ("une belle histoire", 1),
    ("素晴らしい 映画", 1),
    ("とても 良い 物語", 1),
    ("a terrible film", 0),
    ("what a dull story", 0),
    ("bad and boring", 0),
    ("i hated every minute", 0),
    ("the worst film of the year", 0),
    ("ugly and stupid", 0),
    ("ein schlechter film", 0),
    ("langweilig und dumm", 0),
    ("wirklich schlecht", 0),
    ("un très mauvais film", 0),
    ("une histoire ennuyeuse", 0),
    ("ひどい 映画", 0),
    ("とても 退屈な 物語", 0),
]

VOCABULARY = sorted({word for sentence, _ in SENTENCES for word in sentence.split()})
