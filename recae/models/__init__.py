"""Models: from matrices of interactions to scores. ``create("ease", l2=200)`` makes one by name.

What every model is:
    registry        their names; config, their settings; search_spaces, what is worth trying of these
    base            the contract; attribution, what an item adds to a score; neighbours, similar items and users
    matrices        checks and shapes of what comes in; ranking, from scores to lists
    fitting         on everything, after a validation; warm, from an earlier model; storing, models in files; storage,
                    the format of these
    devices         CPU or GPU; precision, the number type of products
Trained by gradient steps:
    neural          the half of the contract they share; trainer, epochs and checkpoints; losses; optimisers,
                    lazy_adam for rows of sparse batches
    denoising       DAE, CDAE; sparse, those with few active units; cosine, CosineDAE; elsa, of low rank
    multinomial     Mult-DAE, Mult-VAE; recvae, RecVAE; hvamp, H+Vamp gated VAE; sequential, of histories in order
    multinomial_output  output layer and loss in one step; pointwise_output, the same of losses of each item by itself
    observed        products at stored entries alone
    screening       the best of many items by weights of 8 bits
In closed form:
    linear          EASE, EDLAE, RLAE, RDLAE, DAN; slist, of histories in order; sparsified, the largest weights of one
    gram            the inverse they rest on; inversion, the same by blocks on a GPU
    graph_filter    GF-CF; decomposition, singular vectors
Of ratings:
    rating_model    what they offer beside the contract; ratings, means and regressions they share
    autorec         AutoRec; deep_rating, DeepAutoRec; sparsefc, SparseFC
To be beaten:
    baselines       popularity, item neighbours; rating_baselines, means and biased factorisation
    factorisation   ALS, PureSVD; trained_users, BPR and LMF
Made of others:
    members         what blends share; blend, of models that rank; rating_blend, of models of ratings
"""

from recae.models.registry import config_class, create, load_model, model_class, names

__all__ = ["config_class", "create", "load_model", "model_class", "names"]
