"""The static student that learns what a student of layers does."""

from compress.recipe.student import Student, static_student_of


def test_what_only_layers_have_is_left_out_and_all_else_stays():
    student = Student.model_validate(
        {
            "every_nth_layer": 4,
            "vocabulary_size": 5000,
            "rows": {"minimum_confidence": 0.5},
            "augmentation": {"copies": 2},
            "distillation": {"alpha": 0.3, "sentences": {"weight": 1.0}},
            "training": {"epochs": 5, "freeze": "embeddings", "learning_rate": 0.0005},
        }
    )
    static = static_student_of(student, 96)
    assert (static.kind, static.hidden_size, static.every_nth_layer) == ("static", 96, None)
    assert (static.vocabulary_size, static.rows, static.augmentation) == (5000, student.rows, student.augmentation)
    assert static.distillation == student.distillation.model_copy(update={"sentences": static.distillation.sentences})
    assert static.distillation.layer_signals == []
    assert static.training == student.training.model_copy(update={"freeze": None, "learning_rate": 0.01})


def test_larger_steps_than_usual_stay():
    student = Student.model_validate({"training": {"learning_rate": 0.05}})
    assert static_student_of(student, 96).training.learning_rate == 0.05
