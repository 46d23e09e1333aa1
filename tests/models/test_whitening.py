"""Whitening by the covariance within genres."""

import numpy as np

from genregrid.models.whitening import GenreWhitening


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Genres differ in the second column only; within them the first varies a lot."""
    random = np.random.default_rng(0)
    genre = np.arange(600) % 3
    return random.standard_normal((600, 2)) * [10.0, 0.05] + np.outer(genre, [0.0, 0.5]), genre


def test_variance_within_genres_is_equal_in_all_directions() -> None:
    vectors, genre = draw()
    white = GenreWhitening(1e-9).fit_transform(vectors, genre)
    rest = white - np.stack([white[genre == number].mean(axis=0) for number in range(3)])[genre]
    covariance = rest.T @ rest / len(rest)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(2), atol=1e-4)


def test_mean_square_is_one_and_much_shrinkage_is_no_whitening() -> None:
    vectors, genre = draw()
    for shrinkage in (0.1, 1e6):
        white = GenreWhitening(shrinkage).fit_transform(vectors, genre)
        np.testing.assert_allclose(np.square(white).mean(), 1)
    distances = [np.linalg.norm(values[0] - values[1:50], axis=1) for values in (white, vectors)]
    np.testing.assert_allclose(distances[0] / distances[0][0], distances[1] / distances[1][0], rtol=1e-3)


def test_whitening_separates_genres_by_reducing_noise() -> None:
    """Two columns of large noise dominate distances until they are whitened."""
    vectors, genre = draw()
    vectors = np.column_stack([vectors, 10 * np.random.default_rng(1).standard_normal(len(vectors))])
    white = GenreWhitening(1e-4).fit_transform(vectors, genre)

    def share_of_nearest_in_genre(values: np.ndarray) -> float:
        distance = np.linalg.norm(values[:, None] - values, axis=2)
        np.fill_diagonal(distance, np.inf)
        return float((genre[distance.argmin(axis=1)] == genre).mean())

    assert share_of_nearest_in_genre(vectors) < 0.9 < 0.97 < share_of_nearest_in_genre(white)
