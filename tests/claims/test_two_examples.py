"""Two examples that pull in opposite directions keep a trainer where it is."""

from fastbatch.claims.two_examples import along_the_loss, two_examples


def test_gradients_cancel_and_losses_do_not():
    claim = two_examples()
    assert claim.holds
    assert claim.tables[0].rows == (("1 -> 2", 1, 2), ("1 -> 4", 1, -2), ("mean", 1, 0))
    assert {row[1:3] for row in claim.tables[1].rows} == {(3, 1)}


def test_a_step_along_the_loss_does_not_stay():
    assert not two_examples(along_the_loss).holds
