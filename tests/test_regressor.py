"""The regressor of scikit-learn: what it learns, what it takes, what it keeps to."""

from __future__ import annotations

import copy
import pickle
import runpy
import sys

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.Descriptors import MolWt

pytest.importorskip("sklearn", reason="the extra [sklearn] is not installed")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from molaugerino import regressor as module
from molaugerino.datasets import open_data
from molaugerino.errors import UserError
from molaugerino.predict import Predictor
from molaugerino.regressor import SmilesRegressor, entry_of

GROUPS = ("C", "O", "N", "F", "C=O", "C#N", "OC", "C(N)=O", "C=C", "C1CC1")
SMILES = [f"{'C' * n}{group}" for n in (1, 2, 3) for group in GROUPS]
SHARE = np.array([text.count("C") / (Chem.AddHs(Chem.MolFromSmiles(text)).GetNumAtoms()) for text in SMILES])
WEIGHT = np.array([MolWt(Chem.MolFromSmiles(text)) for text in SMILES])
TEST = np.arange(len(SMILES)) % 4 == 0


def tiny(**changes):
    return SmilesRegressor(**({"width": 16, "depth": 1, "steps": 5} | changes))


@pytest.fixture(scope="module")
def fitted():
    return tiny().fit(SMILES, SHARE)


class TestLearning:
    def test_a_label_of_the_molecule_is_learned(self):
        regressor = tiny(steps=100, batch=16).fit(np.array(SMILES)[~TEST], SHARE[~TEST])
        assert regressor.score(np.array(SMILES)[TEST], SHARE[TEST]) > 0.8, "0 is the mean"

    def test_a_sum_knows_what_atoms_add_before_it_is_trained(self):
        X = np.array(SMILES)
        found = {
            how: tiny(readout=how, steps=1).fit(X[~TEST], WEIGHT[~TEST]).predict(X[TEST]) for how in ("sum", "mean")
        }
        np.testing.assert_allclose(found["sum"], WEIGHT[TEST], atol=1e-3)
        assert np.abs(found["mean"] - WEIGHT[TEST]).mean() > 5

    def test_several_outputs_each_in_its_own_way(self):
        both = np.stack([WEIGHT * SHARE, SHARE], 1)
        regressor = tiny(readout=["sum", "mean"], steps=100, batch=16).fit(SMILES, both)
        values = regressor.predict(SMILES)
        assert values.shape == both.shape
        assert (r2_score(both, values, multioutput="raw_values") > [0.9, 0.1]).all(), "0 is the mean"
        assert tiny().fit(SMILES, both[:, :1]).predict(SMILES[:3]).shape == (3, 1)

    def test_the_route_is_that_of_the_package(self, fitted):
        rows = fitted.predictor_.predict(SMILES[:8], isomers=1)
        np.testing.assert_allclose(fitted.predict(SMILES[:8]), [row.values[0] for row in rows], rtol=1e-6)
        assert fitted.predictor_.card.geometry == "mmff"

    def test_the_conformer_is_the_lowest_in_fit_and_predict(self):
        bent = ["OCCO", "OCCCO", "NCCCCO", "CCCCCO"]
        several = tiny(conformers=4).fit(SMILES + bent, [*SHARE, 0.2, 0.2, 0.2, 0.2])
        rows = several.predictor_.predict(bent, isomers=1, conformers=4)
        np.testing.assert_allclose(several.predict(bent), [row.values[0] for row in rows], rtol=1e-6)
        assert (
            several.predictor_.card.data_sha256
            != tiny().fit(SMILES + bent, [*SHARE, 0.2, 0.2, 0.2, 0.2]).predictor_.card.data_sha256
        )

    def test_a_start_from_trained_weights(self, tmp_path):
        first = tiny(model="schnet", steps=60).fit(SMILES, SHARE)
        first.save(tmp_path / "first")
        again = tiny(model="schnet", steps=1, lr=1e-9, init=tmp_path / "first").fit(SMILES, SHARE)
        np.testing.assert_allclose(again.predict(SMILES), first.predict(SMILES), atol=1e-5)

    @pytest.mark.parametrize("model", ["point-transformer", "graph", "painn"])
    def test_a_law_is_learned_where_the_network_knows_nothing(self, model):
        regressor = tiny(model=model).fit(SMILES, SHARE)
        card = regressor.predictor_.card
        assert card.augment == ("none" if model == "painn" else "learned")
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(regressor)).predict(SMILES[:5]), regressor.predict(SMILES[:5])
        )


class TestSeeds:
    def test_a_seed_fixes_every_bit_and_leaves_that_of_torch_alone(self, fitted):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        again = tiny().fit(SMILES, SHARE)
        assert torch.equal(torch.rand(3), expected)
        assert np.array_equal(again.predict(SMILES), fitted.predict(SMILES))
        assert pickle.dumps(again.predictor_.card) == pickle.dumps(fitted.predictor_.card)

    def test_another_seed_is_another_network_and_another_split(self, fitted):
        other = tiny(random_state=1).fit(SMILES, SHARE)
        assert not np.array_equal(other.predict(SMILES), fitted.predict(SMILES))
        assert other.predictor_.card.split_sha256 != fitted.predictor_.card.split_sha256
        drawn = [tiny(random_state=np.random.RandomState(3)).fit(SMILES, SHARE).predict(SMILES) for _ in range(2)]
        assert np.array_equal(*drawn)

    def test_the_clock_is_not_deterministic(self):
        assert tiny(steps=None).__sklearn_tags__().non_deterministic
        assert not tiny().__sklearn_tags__().non_deterministic


class TestInput:
    def test_a_column_in_every_form(self, fitted):
        expected = fitted.predict(SMILES)
        for X in (tuple(SMILES), np.array(SMILES), np.array(SMILES, dtype=object), [[text] for text in SMILES]):
            assert np.array_equal(fitted.predict(X), expected)

    def test_pandas(self, fitted):
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        frame = pandas.DataFrame({"smiles": SMILES, "label": SHARE})
        for dtype in (object, "str"):
            column = frame["smiles"].astype(dtype)
            assert np.array_equal(fitted.predict(column), fitted.predict(SMILES))
            assert np.array_equal(fitted.predict(column.to_frame("another name")), fitted.predict(SMILES))
        again = tiny().fit(frame[["smiles"]], frame["label"])
        assert np.array_equal(again.predict(frame[["smiles"]]), fitted.predict(SMILES))
        missing = pandas.Series(["CCO", None, pandas.NA, np.nan], dtype=object)
        with pytest.warns(UserWarning, match=r"3 of 4 molecules are predicted as NaN \(row 1: empty, nothing on this"):
            assert np.isnan(fitted.predict(missing)).tolist() == [False, True, True, True]

    @pytest.mark.parametrize(
        ("X", "error", "message"),
        [
            ([["CCO", "C"]], ValueError, "X has 2 features, but SmilesRegressor is expecting 1: the SMILES"),
            ([[1.0], [2.0]], ValueError, "X must hold SMILES, got an array of float64"),
            ([[["CCO"]]], ValueError, "Found array with dim 3"),
            ([], ValueError, r"0 sample\(s\)"),
            ("CCO", (TypeError, ValueError), "Singleton array|at least 1 dimension"),
        ],
    )
    def test_what_is_no_column(self, fitted, X, error, message):
        with pytest.raises(error, match=message):
            fitted.predict(X)

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (SHARE[1:], "inconsistent numbers of samples"),
            (np.where(TEST, np.nan, SHARE), "Input y contains NaN"),
            (["many"] * len(SMILES), "could not convert string to float"),
        ],
    )
    def test_what_are_no_labels(self, y, message):
        with pytest.raises(ValueError, match=message):
            tiny().fit(SMILES, y)


class TestBadRows:
    BAD = ("xx", "[Na+].[Cl-]", "", "C[CH2]", 3.5)

    def test_they_are_left_out_and_predicted_as_nan(self, fitted):
        first = (
            r"row 30: bad_smiles, RDKit cannot read 'xx' as a SMILES; row 31: fragments, .*; row 32: empty, .*; \.\.\."
        )
        X = np.array([*SMILES, *self.BAD], dtype=object)
        y = np.append(SHARE, np.full(len(self.BAD), 1e6))
        with pytest.warns(UserWarning, match=rf"5 of 35 molecules are left out of the fit \({first}\)"):
            regressor = tiny().fit(X, y)
        assert np.array_equal(regressor.predict(SMILES), fitted.predict(SMILES)), "as if they had never been there"
        with pytest.warns(UserWarning, match="5 of 35 molecules are predicted as NaN"):
            assert np.isnan(regressor.predict(X)).tolist() == [False] * 30 + [True] * 5

    @pytest.mark.parametrize(
        ("text", "why"), [("CBr", "unsupported_element, Br: the model has seen"), ("C" * 30, "too_large")]
    )
    def test_what_the_fit_has_never_seen(self, fitted, text, why):
        with pytest.warns(UserWarning, match=rf"1 of 2 molecules are predicted as NaN \(row 1: {why}"):
            assert np.isnan(fitted.predict(["CCO", text])).tolist() == [False, True]

    def test_they_can_be_errors(self, fitted):
        with pytest.raises(UserError, match=r"1 of 31 molecules cannot be used \(row 30: bad_smiles"):
            tiny(on_bad="raise").fit([*SMILES, "xx"], [*SHARE, 0.0])
        strict = copy.deepcopy(fitted).set_params(on_bad="raise")
        with pytest.raises(UserError, match=r"1 of 2 molecules cannot be used \(row 0: bad_smiles, a int is no SMILES"):
            strict.predict(np.array([3, "C"], dtype=object))

    @pytest.mark.filterwarnings("ignore:.*molecules are left out:UserWarning")
    @pytest.mark.parametrize(("X", "number"), [(["xx"] * 3, 0), (["CCO", "OCC", "xx"], 1)])
    def test_too_few(self, X, number):
        with pytest.raises(
            UserError, match=f"at least 2 different molecules that can be used are needed, got {number}"
        ):
            tiny().fit(X, [1.0, 2.0, 3.0])

    def test_two_are_enough(self):
        assert tiny(steps=1).fit(["C", "CC"], [1.0, 2.0]).predict(["C", "CC"]).shape == (2,)

    def test_scorers_refuse_nan(self, fitted):
        with pytest.warns(UserWarning, match="predicted as NaN"), pytest.raises(ValueError, match="contains NaN"):
            fitted.score(["CCO", "xx"], [1.0, 2.0])


class TestDeviations:
    def test_they_are_those_of_the_errors(self):
        """Labels with noise, which is all that is left to predict: its size is found, whatever its form."""
        whole = open_data("xtb9")
        X = whole.smiles[np.argsort(whole.num_atoms, kind="stable")[:400]]
        noise = 0.3 * np.random.default_rng(0).laplace(size=len(X))
        y = np.array([text.upper().count("C") for text in X]) + noise
        train = np.arange(len(X)) % 3 > 0
        regressor = tiny(readout="sum", steps=60).fit(X[train], y[train])
        values, deviations = regressor.predict(X[~train], return_std=True)
        assert deviations.shape == values.shape
        assert (deviations > 0).all()
        ratio = (y[~train] - values) / deviations
        assert np.mean(ratio**2) == pytest.approx(1, abs=0.5)
        assert np.array_equal(values, regressor.predict(X[~train]))
        with pytest.warns(UserWarning, match="NaN"):
            assert np.isnan(regressor.predict(["xx"], return_std=True)).tolist() == [[True], [True]]

    def test_too_few_to_calibrate(self, fitted):
        with pytest.raises(UserError, match="need 40 molecules that trained nothing, and there were fewer: fit more"):
            fitted.predict(SMILES, return_std=True)


class TestParameters:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"model": "forest"}, "`model`: Input should be 'point-transformer', .*, got 'forest'"),
            ({"readout": "median"}, "`readout`: Input should be 'mean', 'sum', 'norm' or 'extent', got 'median'"),
            ({"readout": ("mean", "sum")}, "give one --readout for all targets or one each, got 2 for y"),
            ({"steps": -1}, "--steps must be positive, got -1"),
            ({"steps": 1.5}, "`steps`: Input should be a valid integer.*, got 1.5"),
            ({"minutes": 1.0}, "give one of --minutes, --epochs and --steps"),
            ({"width": 13}, "--net.heads must divide --net.width"),
            ({"lr": "fast"}, "`lr`: Input should be a valid number.*, got 'fast'"),
            ({"on_bad": "ignore"}, "`on_bad`: Input should be 'skip' or 'raise', got 'ignore'"),
            ({"conformers": 0}, "`conformers`: Input should be greater than or equal to 1, got 0"),
            ({"validation_fraction": 1.0}, "`validation_fraction`: Input should be less than 1, got 1.0"),
            ({"model": "painn", "augment": "learned"}, "nothing for --augment learned to learn"),
            ({"init": "nowhere"}, "no model 'nowhere'"),
        ],
    )
    @pytest.mark.usefixtures("untyped")
    def test_those_out_of_range_are_told_by_fit(self, parameters, message):
        regressor = tiny(**parameters)
        with pytest.raises(UserError, match=message):
            regressor.fit(SMILES[:4], SHARE[:4])
        assert not hasattr(regressor, "predictor_")

    @pytest.mark.usefixtures("untyped")
    def test_numbers_of_numpy_are_numbers(self, fitted, tmp_path):
        regressor = tiny(steps=np.int64(5), width=np.int32(16), lr=np.float64(2e-3), random_state=np.int64(0))
        assert np.array_equal(regressor.fit(SMILES, SHARE).predict(SMILES), fitted.predict(SMILES))
        regressor.save(tmp_path / "it")
        assert SmilesRegressor.load(tmp_path / "it").steps == 5


class TestKeeping:
    def test_save_and_load(self, fitted, tmp_path):
        fitted.save(tmp_path / "it")
        again = SmilesRegressor.load(tmp_path / "it")
        assert again.get_params() == fitted.get_params()
        assert np.array_equal(again.predict(SMILES), fitted.predict(SMILES))
        assert again.n_features_in_ == 1
        row = Predictor.from_pretrained(tmp_path / "it").predict("CCO")[0]
        assert row.values[0] == pytest.approx(fitted.predict(["CCO"])[0], rel=1e-6)
        with pytest.raises(UserError, match="already holds a model; choose another folder"):
            fitted.save(tmp_path / "it")

    def test_the_shape_of_one_output_is_kept(self, tmp_path):
        tiny(steps=1, readout=("sum",), init=None, random_state=np.random.RandomState(0)).fit(
            SMILES[:4], SHARE[:4, None]
        ).save(tmp_path / "it")
        again = SmilesRegressor.load(tmp_path / "it")
        assert again.predict(["CCO"]).shape == (1, 1)
        assert (again.readout, again.random_state) == (["sum"], None)
        again.fit(SMILES[:4], SHARE[:4])

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", '{"parameters": {"leaves": 3}, "flat": true}', '{"parameters": {"steps": "x"}, "flat": true}'],
    )
    @pytest.mark.usefixtures("untyped")
    def test_damaged_parameters(self, fitted, tmp_path, content):
        fitted.save(tmp_path / "it")
        (tmp_path / "it" / "regressor.json").write_text(content)
        with pytest.raises(UserError, match=r"regressor.json does not hold the parameters of a SmilesRegressor \(.+\)"):
            SmilesRegressor.load(tmp_path / "it")

    def test_other_folders(self, trained, tmp_path):
        with pytest.raises(UserError, match="no model"):
            SmilesRegressor.load(tmp_path / "none")
        with pytest.raises(UserError, match=r"regressor.json does not hold the parameters .*No such file"):
            SmilesRegressor.load(trained)

    def test_pickles_copies_and_clones(self, fitted):
        for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
            assert np.array_equal(again.predict(SMILES), fitted.predict(SMILES))
        assert not hasattr(clone(fitted), "predictor_")
        with pytest.raises(NotFittedError):
            clone(fitted).predict(SMILES)
        with pytest.raises(NotFittedError):
            clone(fitted).save("nowhere")

    def test_an_interrupt_is_one(self, monkeypatch):
        monkeypatch.setattr(module, "train", lambda *_: None)
        regressor = tiny()
        with pytest.raises(KeyboardInterrupt):
            regressor.fit(SMILES[:4], SHARE[:4])
        assert not hasattr(regressor, "predictor_")

    def test_nothing_is_left_behind_and_nothing_said(self, tmp_path, monkeypatch, capfd):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        tiny(steps=1).fit(SMILES[:4], SHARE[:4])
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr() == ("", "")
        tiny(steps=20, verbose=True).fit(SMILES[:4], SHARE[:4])
        assert "100%" in capfd.readouterr().err


class TestCompany:
    def test_in_a_pipeline_cross_validated(self):
        pipeline = make_pipeline(FunctionTransformer(lambda X: [text.strip() for text in X]), tiny(steps=60))
        scores = cross_val_score(pipeline, [f" {text} " for text in SMILES], SHARE, cv=2, error_score="raise")
        assert scores.shape == (2,)
        assert np.isfinite(scores).all()

    def test_searched(self):
        search = GridSearchCV(tiny(), {"readout": ["sum", "mean"]}, cv=2, error_score="raise").fit(SMILES, WEIGHT)
        assert search.best_params_ == {"readout": "sum"}
        assert search.predict(SMILES[:2]).shape == (2,)

    @pytest.mark.slow
    def test_in_two_processes(self):
        alone, shared = (
            cross_val_score(tiny(steps=20), np.array(SMILES), SHARE, cv=2, n_jobs=jobs, error_score="raise")
            for jobs in (None, 2)
        )
        np.testing.assert_allclose(shared, alone, rtol=1e-3)

    @pytest.mark.slow
    def test_geometries_by_two_processes(self, fitted):
        assert np.array_equal(copy.deepcopy(fitted).set_params(n_jobs=2).predict(SMILES), fitted.predict(SMILES))


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    message = (
        r"needs scikit-learn 1.6 or later \(.*sklearn.base.*\); install it with: pip install 'molaugerino\[sklearn\]'"
    )
    with pytest.raises(ImportError, match=message):
        runpy.run_path(str(module.__file__))


# The checks of scikit-learn. Most of them give numbers as X, those of the tables; where every row of numbers stands for
# a molecule, these pass, too.

NUMBERS = "X holds numbers, and only a column of SMILES can be fitted"
COLUMNS = "X is made one-dimensional, as it may be, and then indexed in two dimensions; and it holds numbers"
GIVEN_NUMBERS = (
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_regressor_data_not_an_array",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_regressors_train",
    "check_supervised_y_2d",
)
GIVEN_COLUMNS = (
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_regressors_no_decision_function",
)
EXPECTED = dict.fromkeys(GIVEN_NUMBERS, NUMBERS) | dict.fromkeys(GIVEN_COLUMNS, COLUMNS)


SMALL = ("C", "N", "O", "CC", "CO", "CN", "CF", "C=O", "C=C", "C#N", "C#C")


class OfNumbers(SmilesRegressor):
    """A row of numbers stands for one of the molecules."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = False
        tags.regressor_tags.poor_score = True  # rows that are near each other are no similar molecules
        return tags

    def fit(self, X, y):
        super().fit(X, y)
        validate_data(self, X)
        return self

    def predict(self, X, return_std=False):
        values = super().predict(X, return_std)
        validate_data(self, X, reset=False)
        return values

    def _entries(self, X):
        places = np.floor(7 * check_array(X, dtype=float, estimator=self).sum(1)).astype(int) % len(SMALL)
        return [entry_of(SMALL[place]) for place in places]


@pytest.mark.usefixtures("untyped")
@parametrize_with_checks([tiny(width=8, steps=2)], expected_failed_checks=lambda _: EXPECTED)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.usefixtures("untyped")
@parametrize_with_checks([OfNumbers(width=8, depth=1, steps=2)])
def test_checks_where_numbers_are_molecules(estimator, check):
    check(estimator)
