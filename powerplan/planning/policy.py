"""Numerical policy: what counts as equal, met or settled, how far searches go, and what they may cost.

None of these numbers is physics, and none is an option: a plan must not depend on them beyond its tolerance. They stand
together so that they can be weighed against each other. Logs are natural; "residual" is the KKT residual.
"""

from __future__ import annotations

# --- what counts as equal or as met ---

#: Log slack of a tight constraint: just above the rounding of a prediction in double precision.
ON_CONSTRAINT = 1e-12
#: The same at the end of a descent, whose last shift of all gains is only made for more than this.
SETTLED_CONSTRAINT = 1e-10
#: The same where predictions are expensive or a plan is only a start: no prediction is spent on digits nobody reads.
COARSE_CONSTRAINT = 1e-6
#: The same in single precision, which cannot tell less apart.
ROUNDED_CONSTRAINT = 1e-5
#: The same of a baseline that is only where corrections are estimated.
NEAR_CONSTRAINT = 1e-3
#: Slack as a part of the residual asked for: a plan that may be 1 % off needs no exact constraint.
CONSTRAINT_OF_TOLERANCE = 0.1
#: Relative change of an objective that is none: above the rounding of long sums.
SAME_OBJECTIVE = 1e-9
#: Relative rounding of an objective: no step is refused for a rise below it.
OBJECTIVE_ROUNDING = 1e-12
#: Log distance below which two steps of a gain are one, or a gain is at a limit: above the rounding of exp and log.
SAME_STEP = 1e-9
#: Decimals of log steps that are compared where lists of steps are matched: beyond the rounding of log.
STEP_DECIMALS = 12
#: Part of itself by which a target may be exceeded: predictions are not more exact.
EXCEEDED = 1e-3
#: Change of the ratio between what a part of the chips keeps within and the mean that is none: less than a target may
#: be exceeded by; of numbers that move in steps, whose ratio is that of chips drawn and moves by 1 to 2 % by chance;
#: how often a plan is made again for it.
SAME_SPREAD, SAME_STEPPED_SPREAD, MOST_SPREADS = 5e-4, 3e-2, 3
#: Change of that ratio beside what was expected to first order from which on it is held: with many columns it may rise
#: again in directions that had none of the spread.
TRUSTED_SPREAD = 1e-2
#: Parts of the chips whose cost is told beside that of a plan's own.
OTHER_PARTS = (0.9, 0.95, 0.99)
#: Multipliers below this part of their sum are rounding, not prices.
LEAST_PRICE = 1e-6
#: The smallest gain considered, as a part of its layer's largest: far below any use, so that it never decides.
SMALLEST_FRACTION = 1e-6

# --- predictions ---

#: Constraints this far (in log) below the worst, and those beyond so many, get no derivatives: they cannot bind here.
OUT_OF_REACH, MOST_GRADIENTS = 4.0, 64
#: Evaluations remembered: a step's last prediction is the next one's first, seen from up to four searches.
REMEMBERED = 4
#: Predictions that the first one with gradients is taken to cost, until one was timed.
GRADIENT_COST = 3.0
#: Tensors of the size of all values that a backward pass keeps for every input, and more for every direction, about.
BACKWARD_TENSORS, BACKWARD_TENSORS_OF_DIRECTION = 14, 4
#: Entries of all adjoints beyond which a prediction is expensive: it takes seconds with its gradients.
EXPENSIVE = 30_000_000

# --- error rates ---

#: Rivals of a class that are looked at, those with the smallest margins: others add less than the rounding of a rate.
MOST_RIVALS = 16
#: Points of the integral in all, and their least and most per input: more would cost more than the network itself.
INTEGRAL_POINTS, FEWEST_POINTS, MOST_POINTS = 1 << 17, 32, 256
#: Variance added to margins, relative to their own and to the squared outputs: keeps their covariance definite.
MARGIN_JITTER, MARGIN_FLOOR = 1e-10, 1e-20
#: Distance of probabilities from 0 and 1 where their quantile is taken: the quantile stays finite.
TAIL = 1e-60

# --- scaling onto a target ---

#: Shifts tried to meet a constraint: bisection alone would need fifty.
MOST_SHIFTS = 100
#: Halvings of the range of shifts to find where a constraint is met at all: to 1e-5 in log gains.
MOST_HALVINGS = 20
#: Where an error may rise again with the gains: the least part of the largest gains at which it is looked at, at how
#: many common factors, and how closely the least of them is found, in log gains.
LEAST_IN_USE, SHIFTS_SCANNED, CLOSE_SHIFT = 1e-3, 10, 0.02
#: Gains up to which the least constraint is found as closely as L-BFGS-B can, since it decides what is in reach.
FEW_GAINS = 500
#: The tolerances of L-BFGS-B for that, and where the gains are more: about 1e-3 then.
CLOSELY, ROUGHLY = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500}, {"ftol": 1e-7, "maxiter": 100}
#: Sharpness of the smooth maximum of several log constraints, in turn: each starts near the answer of the one before.
SHARPNESS = (10.0, 100.0, 1000.0)

# --- descent: the search ---

#: Steps for each iteration asked for: an iteration once was a local program, which cost ten quasi-Newton steps.
STEPS_PER_ITERATION = 10
#: Newton steps that put the last point onto its constraint: it is close.
MOST_TIGHTENED = 12
#: Steps that a descent mostly takes: for its progress alone.
LIKELY_STEPS = 12
#: Largest change of a log gain in one step: beyond a factor e no local model holds.
LARGEST_STEP = 1.0
#: Factor on the trust radius after a step that failed: two failures reach a sixth.
SHRUNK = 0.4
#: Failures in a row after which what was learnt is dropped, and after which there will be no progress.
MOST_FAILURES, GIVE_UP = 8, 24
#: Trust radius after a fresh start: the point is good, what was known of it was not.
RADIUS_ANEW = 0.1
#: Residual above which a point is far from optimal: curvature learnt there misleads, and only the merit counts.
FAR = 0.1
#: Residual that counts as optimal where rounding allows no further step.
STALLED_RESIDUAL = 1e-6
#: Accepted steps without progress after which a descent starts anew, and how often before it ends.
STANDING, MOST_RESTARTS = 10, 2
#: Part of itself to which the residual must fall meanwhile to be progress.
HALVED = 0.5
#: Over twice as many steps: the change of the objective that is none to a user, and the part of the residual likewise.
HOVERING, HARDLY_LESS = 1e-4, 0.9

# --- descent: quasi-Newton steps ---

#: Residual above which nothing is learnt beside a known output bias, which turns with every step there.
VERY_FAR = 0.3
#: Residual at which a known bias is looked at once more: it has turned since, and will not any more.
NEAR = 0.01
#: Rows of the bias's Jacobian: as many random combinations span its stiff directions, and as few gains need none.
MOST_ROWS = 16
#: Steps in which curvature is made anew far from the optimum: then it moves so little that learning does more.
MOST_FAR_STEPS = 8
#: Smallest longest step that is told from none, to divide by.
SMALLEST_STEP = 1e-10
#: Curvature of a gain as a part of the largest, at least: a gain that changes nothing must not take endless steps.
FLATTEST = 1e-6
#: Exponent of a gain in the error that noise adds: 1/c².
NOISE_EXPONENT = -2.0
#: Pairs of steps and gradient changes remembered: more than that many steps are rare.
MEMORY = 50
#: Slope of a constraint along its own push, as a part of the steepest, below which nothing moves it.
UNMOVED = 1e-30
#: Slack, in units of the largest excess, beyond which a constraint is as good as none: farther costs others digits.
NO_MATTER = 1e6
#: Rounds for the multipliers, and the first of them in which the gains inside the box alone count (Newton's method).
MULTIPLIER_ROUNDS, NEWTON_ROUNDS = 200, 10
#: Part of a constraint's slope that the gains inside the box must keep for that.
FLAT = 0.1
#: The largest multiplier: a constraint that costs more than this cannot be met by the gains that move.
LARGEST_DUAL = 1e6
#: Relative change of the multipliers that ends their rounds, and the size from which on it is relative.
SAME_DUAL, SMALL_DUAL = 1e-9, 1e-3
#: Curvature along a step, relative to what was assumed, below which nothing is learnt of it: it may be rounding.
LEAST_CURVATURE = 1e-8
#: Part of the constraints' own scale by which they push apart at least: two that are alike must not divide by zero.
FLATTEST_DIRECTION = 1e-12

# --- starts, surrogates ---

#: Residual and most iterations of a coarser plan that is only a start: the finer one has to move anyway.
ROUGH_RESIDUAL, ROUGH_ITERATIONS = 1e-3, 20
#: Part of the time left that a coarser plan may take.
COARSE_SHARE = 0.5
#: A surrogate has at most one of so many inputs and combinations, or of inputs alone: less does not pay for itself.
FEWER, FEWER_EXACT = 4, 8
#: Residual asked of the first surrogate, and of others as a part of what the whole had before.
FIRST_SURROGATE, NEXT_SURROGATE = 1e-2, 0.02
#: Log slack of constraints as a part of that, and residual of surrogates at the end as a part of the tolerance.
SURROGATE_CONSTRAINT, LAST_SURROGATE = 0.1, 0.2
#: Surrogates at most, and the part of the residual that one may leave before they end: the whole does better then.
MOST_SURROGATES, LEAST_GAIN = 8, 0.5
#: Iterations on one surrogate.
SURROGATE_ITERATIONS = 4

# --- scans where errors rise again with the gains ---

#: Random gains looked at beside the common factors, and the part of the plan's own from which on they are.
RANDOM_SCANNED, SCANNED_FROM = 16, 0.1
#: Fall of the log Lagrangian that is followed: less is within what descents leave; how often it is at most.
SCAN_GAP, MOST_SCANS = 1e-6, 3

# --- steps, converters ---

#: Residual of the continuous gains beside a choice of steps: their objective is compared to 5e-6.
BESIDE_STEPS = 1e-9
#: Relative difference of objectives below which two choices are equally good: above the solver's tolerances.
TIE = 5e-6
#: Choices up to which the best is found, and the relative gap accepted beyond: minutes at most.
MOST_EXACT, ACCEPTED_GAP = 100_000, 1e-3
#: Gains with steps for which branch and bound is tried at most, and up to which it is tried however few the terms.
MOST_SEARCHED, FEW_SEARCHED = 200, 12
#: Nodes in the first and in the second pass; then the best choice so far and its gap are the answer.
FIRST_NODES, MOST_NODES = 1000, 10_000
#: Steps on either side of the continuous optimum at which planes are laid first: the best choice is mostly there.
PROBED_STEPS = 2
#: A plane this far above a visited point, relative to its sum, violates convexity: less is rounding.
PLANE_ROUNDING = 1e-8
#: Steps per gain below which windows are not narrowed: the tree is small.
FEW_STEPS = 4
#: By which a range from a linear program is widened, against the solver's tolerance.
RANGE_SLACK = 1e-6
#: Voltages tried on either side of a jump, and how many of all are completed: the cheapest few.
VOLTAGES_TRIED, MOST_COMPLETED = 12, 4
#: Least relative distance of a voltage from a jump of the error: another machine must round alike.
CLEAR_OF_JUMP = 1e-3
#: Predictions that fitting gains to converters takes at least.
FITTING_PREDICTIONS = 8

# --- guards against hardware without an answer ---

#: Relative change of the objective per relative change of the smallest gains above which they decide, not the target.
GUARD_DECIDES = 1e-3
#: Log change of the gains, and relative change of the error, by which an error that no gain changes is known.
GUARD_CHANGE, GUARD_SAME = -1.0, 1e-6
#: Ratio of the errors at gains larger by that change, below which most of the error does not scale with the gains.
GUARD_FALLS = 0.5
#: The same, below which it is not worth a sentence.
GUARD_OF_NOTE = 1e-5
#: What is tried then: conductance_min as a part of the range, a signal over the read noise, a noise bandwidth [Hz].
IDLE_CONDUCTANCE, READ_NOISE, READ_BANDWIDTH = 0.01, 1e-4, 5e6

# --- explanations ---

#: Fraction by which every parameter is relaxed, and the step of it from which its shadow price is taken.
RELAXED_BY, PRICE_STEP = 0.1, 1e-5
#: Factor by which limits are lifted for the bound without limits: what is beyond does not matter.
LIFTED = 100.0
#: KKT residual of plans made again: their differences from the plan are compared to 5e-5.
EXPLAINED_RESIDUAL = 1e-7
#: Relative change of an objective, and relative gap to the bound without limits, that are worth a number.
CHANGE_OF_NOTE, GAP_OF_NOTE = 5e-5, 5e-4

#: Layers whose converters' bits are tried, those that take most, and the fewest bits there may be.
LAYERS_TRIED, FEWEST_TRIED = 8, 2

# --- advice where a target is out of reach ---

#: Factor by which a number of the hardware is changed at most, and bits of a converter: beyond is another technology.
LARGEST_CHANGE, MOST_BITS = 1000.0, 16
#: Ratio of what the largest conductances leave to the lowest value reached, above which they are said to raise it.
RISES = 1.01
#: Ratio of two factors, the smaller of which does not do, at which the search between them ends.
CLOSE_FACTORS = 1.03
#: First growth of a factor that some samples refuse, and how often it is enlarged until all meet the target.
FIRST_GROWTH, MOST_ENLARGED = 1.2, 6
#: Factor above the lowest reachable value from which on a target is said to be in reach.
TARGET_ROOM = 1.002
#: Seconds beyond those the plan took so far, and the part of them after which there is still time to confirm.
ADVICE_SECONDS, FOR_SEARCHING = 5.0, 0.6
#: Fall of the log excess that counts as help.
LEAST_HELP = 0.01
#: Log excess that counts as met: room for what planning again ends with, and more of it where simulation has a part.
MET_IN_TRIAL, MET_BY_SIMULATION = -0.01, -0.1
#: Seeds that confirm what rests on random samples, and standard deviations between them allowed for beyond the worst.
CONFIRMING_SEEDS, DEVIATIONS = 4, 2.0
#: Part of the error samples that the search takes: what it proposes is confirmed with all.
SEARCH_SAMPLES = 1 / 8
#: Hardware tried at most in the search.
MOST_TRIED = 150
#: Least part of the error that is left whose source is named.
LEAST_FLOOR_PART = 0.01

# --- choices of options: bits of converters and the like ---

#: How closely gains beside a choice meet the target, as a part of it: where choices are compared, and where a model of
#: them is made.
BITS_CONSTRAINT, ABOUT_CONSTRAINT = 5e-4, 1e-2
#: Change of the gains by which their effects are measured, in logs: roundings average over less.
MODEL_STEP = 0.2
#: Change of a term, as a part of it, that is none.
NO_RESPONSE = 1e-9
#: The steepest exponent of a term in a log gain: what one step measures can be rounding.
STEEPEST = 8.0
#: Models made at most, each about the choice found in the last.
MODELS_MADE = 6
#: By what factor another model changes what all options add to a term at most: saturation says little of others.
LARGEST_REVISION = 2.0
#: Newton steps in a model, the change of log gains that ends them, and what keeps flat directions apart.
MODEL_STEPS, SAME_MODEL_STEP, MODEL_RIDGE = 50, 1e-7, 1e-9
#: Prices tried until the worst constraint is as tight as this (log), and the largest change of the log price.
PRICES_TRIED, MODEL_CONSTRAINT, LARGEST_LOG_PRICE = 60, 1e-7, 25.0
#: Part of an energy limit that is taken to be left for the arrays where everything else takes all of it: out of reach.
LEAST_LEFT = 1e-9
#: Errors tried for the choice within an energy limit, how closely (logs) they and the energy are found, and by what
#: factor they change until the limit lies between two.
ERRORS_TRIED, SAME_ERROR, SAME_ENERGY, ERROR_FACTOR = 16, 1e-2, 1e-3, 4.0
#: NMSE that is tried first, and the least part of what lies between two errors that the next one is away from both.
FIRST_NMSE, LEAST_SHARE = 1e-2, 0.1
#: Switches of single sites in a row.
MOST_SWITCHES = 200
#: Choices looked at in the order of their bounds at most, and how many at once.
MOST_LISTED, LISTED_AT_ONCE = 2048, 64
#: Part of the best score within which choices of a model are listed, and how many the prediction compares at most.
NEARLY_BEST, FINALISTS = 2e-2, 6
#: How often options are chosen at most, and by what part a plan may take another amount than its choice was to.
CHOSEN_AT_MOST, AS_EXPECTED = 2, 5e-3
#: By how much the bound of a model is lowered for what its choices were not compared in: with the ranges of converters
#: held, and where they are free or read single slices of the inputs, whose errors add up less simply.
NEARLY_EXACT, ROUGHLY_EXACT = 2e-3, 3e-2
#: Part of a power budget that may be left where it binds.
BINDING = 1e-3
#: Ranges of converters to choose from, over the largest ideal value, and numbers of columns that share one; those that
#: err least, or are fastest, last.
HEADROOMS, COLUMNS_SHARED = (0.25, 0.35, 0.5, 0.71, 1.0, 1.41), (16, 8, 4, 2, 1)
#: By how much a score is raised for the part by which a limit is exceeded; the largest price of a limit over the score,
#: and how many are tried.
BEYOND_LIMITS, DEAREST_LIMIT, LIMIT_PRICES = 1e3, 1e2, 20
#: Exponent of the energy in objectives on latency and area: of choices that are alike there the one with less.
TIE_BREAK = 1e-3

# --- time, verification ---

#: How much of a plan is done when it is solved, before any simulation: for its progress alone.
SOLVED = 0.7

#: Part of the time in which the gains of the first corrections are looked for, and of a plan's time that another takes.
FIRST_LOOK, ANOTHER_PLAN = 0.25, 0.5
#: Part of the time to the deadline that is kept for a verification at most.
FOR_VERIFYING = 0.4
#: Part of the time left to the deadline that error samples may take.
FOR_SAMPLES = 0.25
#: Calibrated plans at most: the second is within the Monte Carlo error, a third would chase it.
MOST_CALIBRATIONS = 2
#: Largest factor by which a bound is moved away from what was predicted: farther, the prediction says nothing.
FURTHEST_BOUND = 4.0
#: Standard error of a verified rate to reach: absolute (0.1 percentage points), and as a part of the target.
RATE_ERROR, RELATIVE_ERROR = 1e-3, 0.05
#: Standard error of a verified yield to reach.
YIELD_ERROR = 5e-3
#: Draws of the pilot, also the fewest of a verification, and the most.
FEWEST_DRAWS, MOST_DRAWS = 256, 10_000
#: Multiplications of one verification at most, about a minute; programming a weight counts as so many.
VERIFICATION_WORK, PROGRAMMING_WORK = 4e11, 100
#: Multiplications of a second, cautiously.
WORK_PER_SECOND = 3e9
#: Part of the time left that one verification may take: a calibrated plan needs three, and plans between them.
VERIFICATION_SHARE = 0.2
#: Shortest time that is told from none [s].
INSTANT = 1e-6
